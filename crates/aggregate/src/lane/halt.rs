//! A partition that cannot go on: the others do, and it says why.
use super::*;

impl Lane<'_> {
    /// Halts a partition, loudly, with the way out.
    pub(super) fn halt(&mut self, partition: i32, halted: Halted) {
        let lane = self.options.lane;
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        let is_news = state.halted.as_ref() != Some(&halted);
        if let Some(Halted::ForGood(_) | Halted::AtRecord(_)) = state.halted {
            return;
        }
        state.halted = Some(halted.clone());
        if !matches!(halted, Halted::Refused(_)) {
            state.is_paused = true;
            if let Err(error) = self.source.pause(&[partition]) {
                tracing::debug!(lane, partition, %error, "pausing failed");
            }
        }
        // A flush half replayed can never be completed.
        if matches!(halted, Halted::ForGood(_)) || state.replay.is_some() {
            self.fold.discard(partition);
            (state.begin, state.events, state.bytes) = (state.next, 0, 0);
            (state.replayed, state.is_busy) = (None, false);
            self.to_announce.remove(&partition);
        }
        let retried = matches!(halted, Halted::Refused(_));
        if is_news {
            let (topic, reason) = (&self.delivery.topic, halted.reason());
            let retry_seconds = if retried { self.options.retry_halted.as_secs() } else { 0 };
            tracing::error!(
                lane,
                topic,
                partition,
                reason,
                retried,
                retry_seconds,
                "partition halted, the others go on"
            );
        }
        self.report_halted(partition, true);
        self.report_all_halted();
    }

    /// ClickHouse takes its rows again.
    pub(super) fn unhalt(&mut self, partition: i32) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        if matches!(state.halted, Some(Halted::Refused(_))) {
            state.halted = None;
            tracing::info!(lane = self.options.lane, partition, "partition goes on");
            self.report_halted(partition, false);
            self.report_all_halted();
        }
    }

    pub(super) fn report_halted(&self, partition: i32, is_halted: bool) {
        let labels = [("lane", self.options.lane.to_owned()), ("partition", partition.to_string())];
        metrics::gauge!("millrace_aggregate_partition_halted", &labels).set(f64::from(u8::from(is_halted)));
    }

    pub(super) fn report_all_halted(&self) {
        let reasons = self.partitions.iter().filter_map(|(partition, state)| {
            let halted = state.halted.as_ref()?;
            Some((partition.to_string(), serde_json::Value::from(halted.reason())))
        });
        let reasons: serde_json::Map<String, serde_json::Value> = reasons.collect();
        self.health.report(&self.component, "halted", reasons);
    }
}
