//! Orders and the VIP pages they came from.
//!
//! An order ID among the device's last 32 is a repetition: an event, but no order. A new order of a VIP subscription
//! is matched to the VIP page that the device saw last, when that lies at most 30 minutes before it; a page is used
//! for one order only.
use std::rc::Rc;

use super::recent::{RC, Recent};

const ORDERS: usize = 32;
const PAGE_LASTS_MS: i64 = 30 * 60 * 1000;

/// What an event has to do with commerce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommerceEvent<'a> {
    /// The device saw a VIP page.
    Page {
        /// The page's entry point; '' when it names none.
        entry_point: &'a str,
    },
    /// The device ordered.
    Order {
        /// Hash of `commerce.order_id`.
        id: u64,
        /// Whether a VIP page may have led to it.
        is_vip: bool,
    },
}

/// What an event was to its device's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommerceStamps {
    /// An order whose ID was there before.
    pub repeated_order: bool,
    /// Entry point of the VIP page that led to the order.
    pub matched_entry_point: Option<Rc<str>>,
}

/// What is remembered of a device's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Commerce {
    pub(crate) orders: Recent<ORDERS>,
    /// The page it saw last, while no order has used it.
    pub(crate) page: Option<VipPage>,
}

/// A VIP page that a device saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VipPage {
    pub(crate) entry_point: Rc<str>,
    pub(crate) time_ms: i64,
}

impl Commerce {
    /// Takes an event of `time_ms`.
    pub(crate) fn take(&mut self, event: &CommerceEvent<'_>, time_ms: i64) -> CommerceStamps {
        let mut stamps = CommerceStamps::default();
        match *event {
            CommerceEvent::Page { entry_point } => {
                self.page = Some(VipPage { entry_point: entry_point.into(), time_ms });
            }
            CommerceEvent::Order { id, .. } if self.orders.contains(id) => {
                self.orders.push(id);
                stamps.repeated_order = true;
            }
            CommerceEvent::Order { id, is_vip } => {
                self.orders.push(id);
                let led =
                    |page: &mut VipPage| (0..=PAGE_LASTS_MS).contains(&time_ms.saturating_sub(page.time_ms));
                if is_vip && let Some(page) = self.page.take_if(led) {
                    stamps.matched_entry_point = Some(page.entry_point);
                }
            }
        }
        stamps
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.orders.heap_bytes() + self.page.as_ref().map_or(0, |page| RC + page.entry_point.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn an_order_uses_the_last_vip_page_of_the_half_hour_before_it_once() {
        let page = |entry_point| CommerceEvent::Page { entry_point };
        let vip = |id| CommerceEvent::Order { id, is_vip: true };
        let gift = |id| CommerceEvent::Order { id, is_vip: false };
        for (name, events, expected) in [
            ("a page and its order", vec![(0, page("pc")), (30, vip(1))], vec!["", "pc"]),
            ("too late", vec![(0, page("pc")), (31, vip(1)), (29, vip(2))], vec!["", "", "pc"]),
            ("before the page", vec![(5, page("pc")), (4, vip(1)), (5, vip(2))], vec!["", "", "pc"]),
            ("used once", vec![(0, page("pc")), (1, vip(1)), (2, vip(2))], vec!["", "pc", ""]),
            ("the page processed last", vec![(3, page("a")), (2, page("b")), (4, vip(1))], vec!["", "", "b"]),
            (
                "not replaced by the page before",
                vec![(0, page("a")), (1, page("b")), (1, vip(1)), (2, vip(2))],
                vec!["", "", "b", ""],
            ),
            ("a gift uses none", vec![(0, page("pc")), (1, gift(1)), (2, vip(2))], vec!["", "", "pc"]),
            (
                "a repetition uses none",
                vec![(0, vip(1)), (1, page("pc")), (2, vip(1)), (3, vip(2))],
                vec!["", "", "again", "pc"],
            ),
            ("gift and subscription share their IDs", vec![(0, gift(1)), (1, vip(1))], vec!["", "again"]),
            (
                "a page without entry point is used up too",
                vec![(0, page("")), (1, vip(1)), (2, vip(2))],
                vec!["", "", ""],
            ),
        ] {
            let mut commerce = Commerce::default();
            let found: Vec<String> = events
                .iter()
                .map(|(minute, event)| {
                    let stamps = commerce.take(event, minute * MINUTE);
                    let matched = stamps.matched_entry_point.as_deref().unwrap_or_default();
                    if stamps.repeated_order { "again".to_owned() } else { matched.to_owned() }
                })
                .collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
