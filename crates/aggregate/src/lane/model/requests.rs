//! What happens to the requests of a process on their way: commits, inserts and queries reach their server or not, and
//! their replies arrive or are lost.
use super::clickhouse::{Executes, Insert, Part};
use super::kafka::{PARTITIONS, is_record};
use super::process::{Job, Reply, SentCommit};
use super::world::World;
use crate::lane::signal::{Delivered, Delivery, Signal};
use crate::protocol;
use crate::server::ErrorClass;

impl World {
    /// A commit is sent, reaches the broker, or its reply arrives.
    pub(super) fn commit(&mut self, who: usize) {
        let (now, rules) = (self.now_ms, self.faults.rules);
        let (is_due, is_soon) = (self.choices.one_in(2), self.choices.one_in(2));
        let process = &mut self.processes[who];
        match process.commit.take() {
            None => {
                if process.partitions.wants_commit(is_due, is_soon) {
                    let commit = process.partitions.begin_commit(now);
                    let generation = process.generation;
                    process.commit = Some(SentCommit { commit, generation, reply: None });
                }
            }
            Some(sent @ SentCommit { reply: None, .. }) => {
                let is_accepted = self.kafka.commit(sent.generation, &sent.commit.offsets);
                self.windows.commit_of_earlier_generation += u64::from(!is_accepted);
                if is_accepted {
                    self.check_committed(&sent);
                }
                self.processes[who].commit = Some(SentCommit { reply: Some(is_accepted), ..sent });
            }
            Some(SentCommit { reply: Some(is_accepted), .. }) => {
                let is_lost = self.choices.one_in(8);
                self.windows.commit_reply_lost += u64::from(is_accepted && is_lost);
                let process = &mut self.processes[who];
                let commands = process.partitions.commit_ended(is_accepted && !is_lost, now, &rules);
                process.execute(commands, now, &rules);
            }
        }
    }

    /// Every record below a committed offset must be in the table.
    fn check_committed(&mut self, sent: &SentCommit) {
        for (partition, next, _) in &sent.commit.offsets {
            let partition = *partition as usize;
            let records = (0..next.0).filter(|&offset| is_record(offset));
            for offset in records {
                if self.clickhouse.count(partition, offset) == 0 {
                    self.problem = Some(format!(
                        "offset {} was committed past record {offset} of partition {partition}",
                        next.0
                    ));
                    return;
                }
            }
        }
    }

    pub(super) fn deliver_any(&mut self, who: usize) {
        let nth = self.choices.index(self.processes[who].jobs.len());
        let job = self.processes[who].jobs.remove(nth);
        self.deliver(who, &job);
    }

    fn deliver(&mut self, who: usize, job: &Job) {
        // A task of an earlier assignment ends before its step.
        if job.assignment != self.processes[who].partitions.assignment() {
            return;
        }
        let delivered = match &job.request {
            Delivery::Wait { until_ms } if self.now_ms < *until_ms => {
                self.processes[who].jobs.push(job.clone());
                return;
            }
            Delivery::Wait { .. } => Delivered::Waited,
            Delivery::ReadMarkers { blocks, end, .. } => match self.request_fails() {
                Some(error) => Delivered::MarkersFailed(error),
                None => {
                    let end = end.0 as u64;
                    Delivered::MarkersRead(self.clickhouse.markers(job.partition, *blocks, end))
                }
            },
            Delivery::Insert { before_ms, .. } if self.now_ms >= *before_ms => {
                self.windows.insert_expired += 1;
                Delivered::Expired
            }
            Delivery::Insert { block, missing, token, .. } => {
                let token = protocol::token(token, "t", job.partition as i32, *block);
                let parts =
                    job.blocks[*block].values().filter(|part| missing.contains(&part.table_partition));
                let parts = parts.cloned().collect();
                match self.insert(who, token, parts) {
                    Ok(()) => Delivered::Inserted { block: *block },
                    Err(error) => Delivered::InsertFailed { block: *block, error },
                }
            }
        };
        self.processes[who].reply(job, delivered);
    }

    fn request_fails(&mut self) -> Option<ErrorClass> {
        if self.returns_permanent_errors {
            return Some(ErrorClass::Permanent("table t is missing".into()));
        }
        self.choices.one_in(8).then(|| ErrorClass::Transient("connection reset".into()))
    }

    fn insert(&mut self, who: usize, token: String, parts: Vec<Part>) -> Result<(), ErrorClass> {
        if self.returns_permanent_errors {
            self.windows.permanent_error_on_insert += 1;
            return Err(ErrorClass::Permanent("table t is missing".into()));
        }
        self.tokens_sent += 1;
        let token = if self.faults.sends_tokens { token } else { format!("{token}?{}", self.tokens_sent) };
        let insert =
            Insert { token, parts, sent_ms: self.now_ms, generation: self.processes[who].generation };
        let lost = Err(ErrorClass::Transient("no reply".into()));
        let count = self.choices.index(3);
        match self.choices.choose(12) {
            6 => {
                self.windows.insert_reply_lost += 1;
                self.clickhouse.execute(&insert, Executes::All);
                lost
            }
            7 => lost,
            8 if self.faults.delayed_inserts => {
                self.delayed.push(insert);
                lost
            }
            9 => {
                self.windows.insert_partly_executed += 1;
                self.clickhouse.execute(&insert, Executes::Parts(count));
                lost
            }
            10 => {
                let executes = Executes::PartsAndTokenWithoutRows(count);
                self.windows.token_stored_without_rows +=
                    u64::from(self.clickhouse.execute(&insert, executes));
                lost
            }
            _ => {
                self.clickhouse.execute(&insert, Executes::All);
                Ok(())
            }
        }
    }

    pub(super) fn read_newest_markers(&mut self, who: usize) {
        let assignment = self.processes[who].partitions.assignment();
        match self.request_fails() {
            Some(ErrorClass::Permanent(cause)) => {
                let process = &mut self.processes[who];
                self.windows.permanent_error_in_mid_replay += u64::from(process.is_replaying());
                if self.faults.discards_replay_on_error {
                    process.discard_replayed_records();
                }
                for partition in 0..PARTITIONS {
                    let signal = Signal::NewestMarkerFailed(cause.clone());
                    process.replies.push(Reply { assignment, partition, signal });
                }
            }
            Some(ErrorClass::Transient(_)) => (),
            None => {
                for partition in 0..PARTITIONS {
                    let signal = Signal::NewestMarker(self.clickhouse.newest(partition));
                    self.processes[who].replies.push(Reply { assignment, partition, signal });
                }
                self.processes[who].reads_newest_markers = false;
            }
        }
    }
}
