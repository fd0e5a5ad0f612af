//! The channel groups. They are part of the contract, so dashboards can rely on them.

/// The groups that a rule may name.
pub(super) const GROUPS: &[&str] = &[
    "direct",
    "paid_search",
    "organic_search",
    "paid_social",
    "organic_social",
    "paid_video",
    "organic_video",
    "display",
    "feed_ads",
    "email",
    "affiliate",
    "referral",
    "app_store",
    "mini_program",
    "in_app_browser",
    "bundle",
    "exchange",
    "push",
    "sms",
    "ai_assistant",
    "internal",
    "other",
];
