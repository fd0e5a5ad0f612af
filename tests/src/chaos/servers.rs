//! Kills and restarts the servers, and changes tables, one after the other in a thread of its own: a restart takes
//! seconds, and the rest of the world must not wait for it.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use devstack::{Stack, query};

use crate::Error;

/// What the tables remember when nothing is wrong with them.
const USUAL_WINDOW: u64 = 100_000;
/// How often the servers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
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
#[derive(Debug, Clone)]
pub(super) enum Done {
    /// Kafka is gone, since then.
    KafkaKilled(Instant),
    /// ClickHouse is gone, since then.
    ClickHouseKilled(Instant),
    /// ClickHouse has ended by itself, with these words, and was started again.
    ClickHouseCrashed(String),
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
            loop {
                let order = received.recv_timeout(LOOK_EVERY);
                revive(stack, &sender)?;
                match order {
                    Ok(order) => carry_out(order, stack, &database, &sender)?,
                    Err(RecvTimeoutError::Timeout) => (),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
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

/// A ClickHouse that crashes is one more fault: the embedded one aborts now and then when connections break.
fn revive(stack: &mut Stack, done: &Sender<Done>) -> Result<(), Error> {
    match stack.check_servers() {
        Err(crash @ devstack::Error::ServerStopped { server: "clickhouse", .. }) => {
            stack.restart_clickhouse()?;
            let _ = done.send(Done::ClickHouseCrashed(crash.to_string()));
            Ok(())
        }
        checked => Ok(checked?),
    }
}

fn carry_out(order: Order, stack: &mut Stack, database: &str, done: &Sender<Done>) -> Result<(), Error> {
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
            set_window(stack, database, 3, done)?;
            tell(Done::WindowShrunk);
        }
        Order::RestoreWindow => {
            set_window(stack, database, USUAL_WINDOW, done)?;
            tell(Done::WindowRestored);
        }
    }
    Ok(())
}

fn set_window(stack: &mut Stack, database: &str, inserts: u64, done: &Sender<Done>) -> Result<(), Error> {
    let set = |stack: &Stack| {
        let url = stack.clickhouse_url();
        let tables = format!(
            "SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree' FORMAT TSVRaw"
        );
        for table in query(url, &tables)?.lines() {
            let setting = format!("non_replicated_deduplication_window = {inserts}");
            query(url, &format!("ALTER TABLE `{database}`.`{table}` MODIFY SETTING {setting}"))?;
        }
        Ok(())
    };
    if set(stack).is_ok() {
        return Ok(());
    }
    revive(stack, done)?;
    set(stack)
}
