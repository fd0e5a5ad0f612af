//! Kills and restarts the servers and changes the tables, one order after the other, in its own thread: a restart takes
//! seconds, and other faults must not wait for it.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use devstack::{Stack, query};

use crate::Error;

/// Deduplication window of the tables without a fault, in inserts.
const USUAL_WINDOW: u64 = 100_000;
/// How often the servers are checked.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// After a longer outage, events may arrive more than 40 s after they were sent, where the simulator's truth ends.
const LONGEST_OUTAGE: Duration = Duration::from_secs(35);

/// Something to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum ServerOrder {
    /// Kill Kafka and restart it after this time.
    KillKafka(Duration),
    /// Kill ClickHouse and restart it after this time.
    KillClickHouse(Duration),
    /// Let all tables keep the tokens of three inserts.
    ShrinkWindow,
    /// Let them keep as many as usual.
    RestoreWindow,
}

/// Something that has happened.
#[derive(Debug, Clone)]
pub(super) enum ServerEvent {
    /// Kafka was killed at this time.
    KafkaKilled(Instant),
    /// ClickHouse was killed at this time.
    ClickHouseKilled(Instant),
    /// ClickHouse has crashed, with these log lines, and was restarted.
    ClickHouseCrashed(String),
    /// This server is ready again, this long after it was killed.
    Restarted(&'static str, Duration),
    /// The window of the tables is small.
    WindowShrunk,
    /// The window of the tables is as usual.
    WindowRestored,
}

/// The thread that works on the servers.
pub(super) struct Servers<'scope> {
    orders: Option<Sender<ServerOrder>>,
    /// What has happened.
    pub(super) events: Receiver<ServerEvent>,
    thread: ScopedJoinHandle<'scope, Result<(), Error>>,
}

impl<'scope> Servers<'scope> {
    /// Starts the thread for the servers of `stack` and the tables of `database`.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        stack: &'env mut Stack,
        database: String,
    ) -> Self {
        let (orders, received) = channel();
        let (sender, events) = channel();
        let thread = scope.spawn(move || {
            loop {
                let order = received.recv_timeout(CHECK_EVERY);
                restart_crashed(stack, &sender)?;
                match order {
                    Ok(order) => carry_out(order, stack, &database, &sender)?,
                    Err(RecvTimeoutError::Timeout) => (),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        });
        Self { orders: Some(orders), events, thread }
    }

    /// Does something after all earlier orders.
    pub(super) fn order(&self, order: ServerOrder) {
        if let Some(orders) = &self.orders {
            // The error of a thread that has failed is returned by `finish`.
            let _ = orders.send(order);
        }
    }

    /// Takes no more orders: the thread ends after the last one.
    pub(super) fn close(&mut self) {
        self.orders = None;
    }

    /// Whether the thread has ended, after `close` or by an error.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until everything ordered is done.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.close();
        self.thread.join().unwrap_or(Err(Error::Panicked("servers")))
    }
}

/// A crash of ClickHouse is one more fault: the embedded server sometimes aborts when connections break.
fn restart_crashed(stack: &mut Stack, events: &Sender<ServerEvent>) -> Result<(), Error> {
    match stack.check_servers() {
        Err(crash @ devstack::Error::ServerStopped { server: "clickhouse", .. }) => {
            stack.restart_clickhouse()?;
            let _ = events.send(ServerEvent::ClickHouseCrashed(crash.to_string()));
            Ok(())
        }
        checked => Ok(checked?),
    }
}

fn carry_out(
    order: ServerOrder,
    stack: &mut Stack,
    database: &str,
    events: &Sender<ServerEvent>,
) -> Result<(), Error> {
    let killed = Instant::now();
    // The receiver is dropped at the end of the run only.
    let send = |event| {
        let _ = events.send(event);
    };
    match order {
        ServerOrder::KillKafka(away) => {
            stack.kill_kafka()?;
            send(ServerEvent::KafkaKilled(killed));
            thread::sleep(away);
            stack.restart_kafka()?;
            send(ServerEvent::Restarted("kafka", killed.elapsed()));
            if killed.elapsed() > LONGEST_OUTAGE {
                let what = format!("an outage of kafka of {:?}", killed.elapsed());
                return Err(Error::Answer { what, wanted: "short enough for a certain truth" });
            }
        }
        ServerOrder::KillClickHouse(away) => {
            stack.kill_clickhouse()?;
            send(ServerEvent::ClickHouseKilled(killed));
            thread::sleep(away);
            stack.restart_clickhouse()?;
            send(ServerEvent::Restarted("clickhouse", killed.elapsed()));
        }
        ServerOrder::ShrinkWindow => {
            set_window(stack, database, 3, events)?;
            send(ServerEvent::WindowShrunk);
        }
        ServerOrder::RestoreWindow => {
            set_window(stack, database, USUAL_WINDOW, events)?;
            send(ServerEvent::WindowRestored);
        }
    }
    Ok(())
}

fn set_window(
    stack: &mut Stack,
    database: &str,
    inserts: u64,
    events: &Sender<ServerEvent>,
) -> Result<(), Error> {
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
    restart_crashed(stack, events)?;
    set(stack)
}
