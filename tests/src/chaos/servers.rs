//! Kills and restarts the servers, and changes tables, one after the other in a thread of its own: a restart takes
//! seconds, and the rest of the world must not wait for it.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use devstack::{Stack, query};

use crate::Error;

/// What the tables remember when nothing is wrong with them.
const USUAL_WINDOW: u64 = 100_000;
/// An outage that is longer may take events over the 40 s after which they mean something else.
const LONGEST_OUTAGE: Duration = Duration::from_secs(35);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// Kill Kafka and start it again after so long.
    Kafka(Duration),
    /// Kill ClickHouse and start it again after so long.
    ClickHouse(Duration),
    /// Let all tables remember three inserts.
    ShrinkWindow,
    /// Let them remember as many as usual.
    RestoreWindow,
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Done {
    /// Kafka is gone, since then.
    KafkaKilled(Instant),
    /// ClickHouse is gone, since then.
    ClickHouseKilled(Instant),
    /// A server answers again after so long.
    Restarted(&'static str, Duration),
    /// The tables forget.
    WindowShrunk,
    /// The tables remember again.
    WindowRestored,
}

/// The thread that does it.
pub(super) struct Servers<'scope> {
    orders: Option<Sender<Order>>,
    /// What was done.
    pub(super) done: Receiver<Done>,
    thread: ScopedJoinHandle<'scope, Result<(), Error>>,
}

impl<'scope> Servers<'scope> {
    /// Takes over the servers of `stack` and the tables of `database`.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        stack: &'env mut Stack,
        database: String,
    ) -> Self {
        let (orders, received) = channel();
        let (sender, done) = channel();
        let thread = scope.spawn(move || {
            for order in received {
                carry_out(order, stack, &database, &sender)?;
            }
            Ok(())
        });
        Self { orders: Some(orders), done, thread }
    }

    /// Has something done after everything ordered before.
    pub(super) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A thread that has failed says so when it is asked how it ended.
            let _ = orders.send(order);
        }
    }

    /// Takes no more orders: the thread ends when all are carried out.
    pub(super) fn close(&mut self) {
        self.orders = None;
    }

    /// Whether the thread has ended: as it was closed, or as it failed.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until everything ordered is done.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.close();
        self.thread.join().unwrap_or(Err(Error::Panicked("servers")))
    }
}

fn carry_out(order: Order, stack: &mut Stack, database: &str, done: &Sender<Done>) -> Result<(), Error> {
    // A server that ends by itself is no fault of ours, and no proof of anything.
    stack.check_servers()?;
    let killed = Instant::now();
    // Nobody listens any more only at the end.
    let tell = |what| {
        let _ = done.send(what);
    };
    match order {
        Order::Kafka(away) => {
            stack.kill_kafka()?;
            tell(Done::KafkaKilled(killed));
            thread::sleep(away);
            stack.restart_kafka()?;
            tell(Done::Restarted("kafka", killed.elapsed()));
            if killed.elapsed() > LONGEST_OUTAGE {
                let what = format!("an outage of kafka of {:?}", killed.elapsed());
                return Err(Error::Answer { what, wanted: "short enough for a certain truth" });
            }
        }
        Order::ClickHouse(away) => {
            stack.kill_clickhouse()?;
            tell(Done::ClickHouseKilled(killed));
            thread::sleep(away);
            stack.restart_clickhouse()?;
            tell(Done::Restarted("clickhouse", killed.elapsed()));
        }
        Order::ShrinkWindow => {
            set_window(stack, database, 3)?;
            tell(Done::WindowShrunk);
        }
        Order::RestoreWindow => {
            set_window(stack, database, USUAL_WINDOW)?;
            tell(Done::WindowRestored);
        }
    }
    Ok(())
}

fn set_window(stack: &Stack, database: &str, inserts: u64) -> Result<(), Error> {
    let url = stack.clickhouse_url();
    let tables = format!(
        "SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree' FORMAT TSVRaw"
    );
    for table in query(url, &tables)?.lines() {
        let setting = format!("non_replicated_deduplication_window = {inserts}");
        query(url, &format!("ALTER TABLE `{database}`.`{table}` MODIFY SETTING {setting}"))?;
    }
    Ok(())
}
