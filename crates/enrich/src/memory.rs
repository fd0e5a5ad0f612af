//! How `memory_limit` is divided: what the state of one partition and the memory of user agents may take, in bytes.
//!
//! A process also holds what it reads and writes: the queues of its Kafka clients, one batch and its output. That part is
//! estimated here; the rest is what the state may take. The state is counted in bytes as requested from the allocator,
//! which needs up to a quarter more, so a quarter stays free.

const MIB: usize = 1024 * 1024;
/// The program, the rules of user agents, the activity registry.
const PROCESS_BYTES: usize = 64 * MIB;
/// Consumer queue, one batch, its output and the copies that undo it.
const WORKER_BYTES: usize = 64 * MIB;

/// What one worker may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// The state of all partitions of the worker, in bytes.
    state: usize,
    /// Its user agents, in bytes.
    agents: usize,
}

/// What one partition may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionBudget {
    /// The de-duplication window, in bytes.
    pub window: usize,
    /// The devices and the texts they share, in bytes.
    pub devices: usize,
}

impl MemoryBudget {
    /// The part of one worker of a process with this `memory_limit`.
    pub fn of_worker(memory_limit: u64, workers: usize) -> Self {
        let (limit, workers) = (usize::try_from(memory_limit).unwrap_or(usize::MAX), workers.max(1));
        let others = PROCESS_BYTES.saturating_add(WORKER_BYTES.saturating_mul(workers));
        // Many workers leave little: then they share an eighth.
        let state = (limit.saturating_sub(others) / 4 * 3).max(limit / 8) / workers;
        Self { state: state / 16 * 15, agents: state / 16 }
    }

    /// What the user agents of the worker may take, in bytes.
    pub fn agents(self) -> usize {
        self.agents
    }

    /// The part of each of the worker's partitions.
    pub fn of_partition(self, partitions: usize) -> PartitionBudget {
        let state = self.state / partitions.max(1);
        PartitionBudget { window: state / 5 * 2, devices: state / 5 * 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_together_stay_below_the_limit() {
        for limit_mib in [256, 512, 1024, 16 * 1024] {
            for workers in [1, 2, 8, 64] {
                for partitions in [1, 3, 100] {
                    let budget = MemoryBudget::of_worker((limit_mib * MIB) as u64, workers);
                    let partition = budget.of_partition(partitions);
                    let worker = budget.agents() + (partition.window + partition.devices) * partitions;
                    assert!(
                        worker * workers <= limit_mib * MIB * 3 / 4,
                        "{limit_mib} {workers} {partitions}"
                    );
                    assert!(worker * workers >= limit_mib * MIB / 10, "{limit_mib} {workers} {partitions}");
                }
            }
        }
    }
}
