//! Looks for an event in ClickHouse.
use aggregate::server;
use base64::{Engine, engine::general_purpose::STANDARD};
use runtime::config::Settings;
use serde_json::Value;
use uuid::Uuid;

use super::{
    dead_letter::TracedDeadLetter,
    event::{TracedEvent, columns},
    position::RawPosition,
    result::{FoundIn, TraceResult},
};
use crate::error::Error;

/// Maximum number of events with one ID to show.
const MAX_EVENTS: usize = 1_000;

/// None when the lane `events` has no table.
pub(super) async fn find_in_tables(settings: &Settings, id: u128) -> Result<Option<TraceResult>, Error> {
    let client = server::client(settings).with_database(&settings.clickhouse.database);
    if server::table(&client, settings, aggregate::table::EVENTS_LANE).await?.is_none() {
        return Ok(None);
    }
    let id_text = Uuid::from_u128(id).to_string();
    let events = format!("SELECT {} FROM events WHERE event_id = toUUID(?) LIMIT {MAX_EVENTS}", columns());
    let letters = format!(
        "SELECT * FROM dead_letters WHERE positionCaseInsensitive(if(payload_encoding = 'base64', \
         tryBase64Decode(payload), payload), ?) > 0 ORDER BY received_at LIMIT {MAX_EVENTS}"
    );
    let mut found = TraceResult {
        source: FoundIn::Tables,
        events: Vec::new(),
        dead_letters: Vec::new(),
        waiting: Vec::new(),
    };
    for row in rows(settings, "events", client.query(&events).bind(&id_text)).await? {
        found.events.push(TracedEvent::of_row(&row)?);
    }
    found.events.sort_by_key(|event| event.position);
    for row in rows(settings, "dead_letters", client.query(&letters).bind(&id_text)).await? {
        found.dead_letters.extend(dead_letter_of_row(&row, id));
    }
    Ok(Some(found))
}

async fn rows(
    settings: &Settings,
    table: &str,
    query: clickhouse::query::Query,
) -> Result<Vec<Value>, Error> {
    let failed = |error| Error::from(server::failed(settings, table, &error));
    let mut cursor = query.fetch_bytes("JSONEachRow").map_err(failed)?;
    let bytes = cursor.collect().await.map_err(failed)?;
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let parsed = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    parsed.map_err(|error| Error::Failed(format!("clickhouse returned invalid JSON for {table}: {error}")))
}

fn dead_letter_of_row(row: &Value, id: u128) -> Option<TracedDeadLetter> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| match &row[name] {
        Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    };
    let payload = text("payload");
    let payload = match row["payload_encoding"].as_str() {
        Some("base64") => STANDARD.decode(payload).unwrap_or_default(),
        _ => payload.into_bytes(),
    };
    let received: Option<jiff::Timestamp> = text("received_at").replace(' ', "T").parse().ok();
    let sent_bytes = number("payload_bytes");
    let letter = TracedDeadLetter {
        code: text("code"),
        message: text("message"),
        pointer: text("pointer"),
        stage: text("stage"),
        raw: RawPosition {
            topic: text("origin_topic"),
            partition: number("origin_partition"),
            offset: number("origin_offset"),
            index: number("origin_index"),
        },
        received_at: received.map_or(0, |at| at.as_millisecond()),
        app_id: text("app_id"),
        cut_from_bytes: if sent_bytes > payload.len() as i64 { sent_bytes } else { 0 },
        ..TracedDeadLetter::default()
    };
    letter.with_payload(id, &payload)
}
