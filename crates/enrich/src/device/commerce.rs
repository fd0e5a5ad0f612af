//! Orders and the VIP pages that led to them.
//!
//! An order whose ID is among the device's last 32 order IDs is repeated: it is an event, but no order. A new order of a
//! VIP subscription is matched to the VIP page that the device saw last, when it saw it at most 30 minutes before. One
//! page is matched to one order.
use std::rc::Rc;

use super::{heap::RC_COUNTERS, recent::Recent, shared::cut};

const ORDERS: usize = 32;
const PAGE_LASTS_MS: i64 = 30 * 60 * 1000;

/// An event of a VIP page or an order.
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
        /// Whether it is a VIP subscription.
        is_vip: bool,
    },
}

/// What an event is to its device's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommerceStamps {
    /// An order whose ID the device has used before.
    pub repeated_order: bool,
    /// Entry point of the VIP page that led to the order.
    pub matched_entry_point: Option<Rc<str>>,
}

/// A device's orders and VIP page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Commerce {
    pub(crate) orders: Recent<ORDERS>,
    /// The page seen last, until an order is matched to it.
    pub(crate) page: Option<VipPage>,
}

/// A VIP page that a device saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VipPage {
    pub(crate) entry_point: Rc<str>,
    /// Event time in epoch milliseconds.
    pub(crate) time_ms: i64,
}

impl Commerce {
    /// Applies an event of `time_ms`.
    pub(crate) fn apply(&mut self, event: &CommerceEvent<'_>, time_ms: i64) -> CommerceStamps {
        let mut stamps = CommerceStamps::default();
        match *event {
            CommerceEvent::Page { entry_point } => {
                self.page = Some(VipPage { entry_point: cut(entry_point).into(), time_ms });
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
        self.orders.heap_bytes() + self.page.as_ref().map_or(0, |page| RC_COUNTERS + page.entry_point.len())
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
                    let stamps = commerce.apply(event, minute * MINUTE);
                    let matched = stamps.matched_entry_point.as_deref().unwrap_or_default();
                    if stamps.repeated_order { "again".to_owned() } else { matched.to_owned() }
                })
                .collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
