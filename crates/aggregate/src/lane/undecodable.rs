//! A batch of the lane's topic that cannot be decoded stops its partition at that batch; the others go on. The records
//! before it are written.
use event::NextOffset;
use kafka::Undecodable;

use super::signal::Signal;
use super::worker::Lane;
use crate::Error;

impl Lane<'_> {
    /// Finds the batch, then reads on at the positions of the partitions: the consumer may have skipped records.
    pub(super) fn undecodable(&mut self) -> Result<(), Error> {
        for batch in self.source.find_undecodable(&self.positions())? {
            let Undecodable { partition, first, last, cause } = batch;
            let problem = format!("the records up to offset {} cannot be decoded: {cause}", last.0);
            self.signal(partition, Signal::Unreadable { offset: first.0, problem })?;
        }
        Ok(self.source.seek(&self.positions())?)
    }

    /// Where each partition that reads is read.
    fn positions(&self) -> Vec<(i32, NextOffset)> {
        let reading = self.partitions.iter().filter(|(_, partition)| partition.halt_reason().is_none());
        reading.filter_map(|(id, partition)| Some((id, partition.position()?))).collect()
    }
}
