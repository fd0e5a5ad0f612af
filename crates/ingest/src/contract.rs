//! The raw event as a table: every field a client may send, in the order in which fields are judged, with its
//! rule, when it is required, and where it goes in the batch. Parsing, validation and encoding all walk this table.
use event::{Field, same_text};

use crate::json::KeyLiteral;

/// When a field must be there. Each is one bit of an event's duties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Required {
    /// Never.
    No = 0,
    /// In every event, or in every object that is sent.
    Always = 1,
    /// On ios, android and pc.
    Installed = 1 << 1,
    /// On every platform but server.
    Device = 1 << 2,
    /// On web and h5.
    Browser = 1 << 3,
    /// On login and register.
    Login = 1 << 4,
    /// On `content_*`, `playback_*` and upload_step.
    Content = 1 << 5,
    /// On `playback_*`.
    Playback = 1 << 6,
    /// On upload_step.
    Upload = 1 << 7,
    /// On vip_opened and gift_sent.
    Order = 1 << 8,
    /// On creator_level_changed.
    Creator = 1 << 9,
}

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// SchemaVer text with a major version we know.
    SchemaVersion,
    /// A UUID that is not nil.
    EventId,
    /// `^[a-z][a-z0-9_]{0,63}$`, and a standard name where others are refused.
    EventName,
    /// `^[a-z0-9-]{1,64}$`, and configured.
    AppId,
    /// One of the platforms.
    Platform,
    /// 1 to 128 characters and no placeholder.
    AnonymousId,
    /// When it happened.
    OriginalTimestamp,
    /// When it was sent.
    SentAt,
    /// Any other point in time.
    Time,
    /// A whole number from 0 to 2^64 - 1.
    EventIndex,
    /// true marks test traffic.
    IsTest,
    /// Text of at most so many characters.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `^[A-Za-z0-9-]{1,40}_[A-Za-z0-9-]{1,40}$`
    ActivityEventId,
    /// A whole number from 0 to 2^63 - 1.
    Count,
    /// A whole number of either sign.
    Amount,
    /// A list of texts.
    Tags,
    /// A map of text to text.
    Experiments,
    /// Anything, within limits.
    Properties,
    /// An object with its own fields.
    Object(&'static Group),
}

/// One field of the raw event.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) key: &'static str,
    /// The key as most clients write it.
    pub(crate) literal: KeyLiteral,
    /// JSON pointer from the event.
    pub(crate) pointer: &'static str,
    pub(crate) required: Required,
    pub(crate) rule: Rule,
    /// Where its value goes as it is; none for what is stored otherwise or not at all.
    pub(crate) field: Option<Field>,
}

/// The fields of one object. Its values stand at `first..first + parts.len()` of an event's values.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) first: usize,
    pub(crate) parts: &'static [Part],
    /// One bit for each part that some events must have.
    pub(crate) demanded: u64,
    /// One bit for each part of which any text will do.
    pub(crate) any_text: u64,
    keys: KeyTable,
}

impl Group {
    const fn new(first: usize, parts: &'static [Part]) -> Self {
        assert!(parts.len() <= 64, "a group has one bit for each part");
        let (mut demanded, mut any_text, mut at) = (0, 0, 0);
        while at < parts.len() {
            if parts[at].required as u16 != 0 {
                demanded |= 1 << at;
            } else if matches!(parts[at].rule, Rule::Text(usize::MAX)) {
                any_text |= 1 << at;
            }
            at += 1;
        }
        Self { first, parts, demanded, any_text, keys: KeyTable::new(parts) }
    }

    const fn end(&self) -> usize {
        self.first + self.parts.len()
    }

    /// The place of a key.
    #[inline]
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        let at = self.keys.guess(key.as_bytes());
        let part = self.parts.get(at)?;
        same_text(part.key.as_bytes(), key.as_bytes()).then_some(at)
    }

    /// The place of the value of `pointer` among an event's values; does not compile for an unknown one.
    const fn place(&self, pointer: &str) -> usize {
        let mut at = 0;
        while !same(self.parts[at].pointer, pointer) {
            at += 1;
        }
        self.first + at
    }
}

/// Finds the one key that may be meant, by its length and its first and last byte: no two keys of a group agree in all
/// three, and a multiplier that gives each a slot of its own is found when the program is compiled.
#[derive(Debug)]
struct KeyTable {
    multiplier: u32,
    slots: [u8; KeyTable::SLOTS],
}

impl KeyTable {
    const SLOTS: usize = 128;
    const EMPTY: u8 = u8::MAX;

    const fn new(parts: &[Part]) -> Self {
        let mut multiplier: u32 = 0x9e37_79b1;
        loop {
            let mut slots = [Self::EMPTY; Self::SLOTS];
            let mut at = 0;
            while at < parts.len() {
                let slot = Self::slot(parts[at].key.as_bytes(), multiplier);
                if slots[slot] != Self::EMPTY {
                    break;
                }
                slots[slot] = at as u8;
                at += 1;
            }
            if at == parts.len() {
                return Self { multiplier, slots };
            }
            multiplier = multiplier.wrapping_mul(0x915f_77f5) | 1;
        }
    }

    const fn slot(key: &[u8], multiplier: u32) -> usize {
        let (Some(&first), Some(&last)) = (key.first(), key.last()) else { return 0 };
        let sum = first as u32 | (last as u32) << 8 | (key.len() as u32) << 16;
        (sum.wrapping_mul(multiplier) >> 25) as usize
    }

    /// Where the key would stand; beyond the group when it cannot be one of its keys.
    #[inline]
    fn guess(&self, key: &[u8]) -> usize {
        self.slots[Self::slot(key, self.multiplier)].into()
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

macro_rules! group {
    ($name:ident after $first:expr, $prefix:literal: $($key:literal $required:ident $rule:expr $(=> $field:ident)?;)*) => {
        static $name: Group = Group::new($first, &[$(Part {
            key: $key,
            literal: KeyLiteral::new($key),
            pointer: concat!($prefix, "/", $key),
            required: Required::$required,
            rule: $rule,
            field: group!(@field $($field)?),
        },)*]);
    };
    (@field) => { None };
    (@field $field:ident) => { Some(Field::$field) };
}

/// Bounded by the size of the event alone.
const TEXT: Rule = Rule::Text(usize::MAX);

const PRODUCER_TYPES: &[&str] = &["pgc", "ugc", "pugc"];
const CONTENT_SOURCES: &[&str] = &["pc_recorder", "mobile_recorder", "web_upload"];
const UPLOAD_STEPS: &[&str] = &["select", "edit", "encode", "transfer", "submit", "done", "failed"];

group! { DEVICE after 0, "/device":
    "id" No TEXT => DeviceId;
    "manufacturer" No TEXT => DeviceManufacturer;
    "model" No TEXT => DeviceModel;
    "type" No TEXT => DeviceType;
    "os_name" No TEXT => OsName;
    "os_version" No TEXT => OsVersion;
    "screen_width" No Rule::Count => ScreenWidth;
    "screen_height" No Rule::Count => ScreenHeight;
    "network_type" No TEXT => NetworkType;
}
group! { PAGE after DEVICE.end(), "/page":
    "url" Always TEXT => PageUrl;
    "path" No TEXT => PagePath;
    "title" No TEXT => PageTitle;
    "referrer" No TEXT => PageReferrer;
    "page_type" No TEXT => PageType;
}
group! { SCREEN after PAGE.end(), "/screen":
    "name" No TEXT => ScreenName;
}
group! { CAMPAIGN after SCREEN.end(), "/campaign":
    "source" No TEXT => CampaignSource;
    "medium" No TEXT => CampaignMedium;
    "name" No TEXT => CampaignName;
    "term" No TEXT => CampaignTerm;
    "content" No TEXT => CampaignContent;
    "id" No TEXT => CampaignId;
}
group! { CONTENT after CAMPAIGN.end(), "/content":
    "id" Always TEXT => ContentId;
    "type" No TEXT => ContentType;
    "source" No Rule::Word(CONTENT_SOURCES) => ContentSource;
    "author_id" No TEXT => AuthorId;
    "producer_type" No Rule::Word(PRODUCER_TYPES) => ProducerType;
    "category" No TEXT => Category;
    "tags" No Rule::Tags => Tags;
    "duration_ms" No Rule::Count => ContentDurationMs;
    "published_at" No Rule::Time => PublishedAt;
}
group! { PLAYBACK after CONTENT.end(), "/playback":
    "id" Always TEXT => PlaybackId;
    "state" No TEXT => PlaybackState;
    "position_ms" No Rule::Count => PositionMs;
    "played_ms" No Rule::Count => PlayedMs;
    "quality" No TEXT => PlaybackQuality;
    "rebuffer_ms" No Rule::Count => RebufferMs;
}
group! { UPLOAD after PLAYBACK.end(), "/upload":
    "id" Always TEXT => UploadId;
    "step" Always Rule::Word(UPLOAD_STEPS) => UploadStep;
    "bytes" No Rule::Count => UploadBytes;
    "duration_ms" No Rule::Count => UploadDurationMs;
    "error_code" No TEXT => ErrorCode;
}
group! { COMMERCE after UPLOAD.end(), "/commerce":
    "order_id" Order Rule::Text(usize::MAX) => OrderId;
    "product_id" No TEXT => ProductId;
    "product_type" No TEXT => ProductType;
    "quantity" No Rule::Count => Quantity;
    "revenue_minor" No Rule::Amount => RevenueMinor;
    "currency" No TEXT => Currency;
    "entry_point" No TEXT => EntryPoint;
    "gift_id" No TEXT => GiftId;
    "receiver_id" No TEXT => ReceiverId;
}
group! { CREATOR after COMMERCE.end(), "/creator":
    "id" Always TEXT => CreatorId;
    "level" No TEXT => CreatorLevel;
    "previous_level" No TEXT => PreviousLevel;
}
group! { LIBRARY after CREATOR.end(), "/library":
    "name" Always TEXT => Library;
    "version" Always TEXT => LibraryVersion;
}
group! { ENVELOPE_PARTS after LIBRARY.end(), "":
    "schema_version" Always Rule::SchemaVersion;
    "event_id" Always Rule::EventId;
    "event_name" Always Rule::EventName => EventName;
    "app_id" Always Rule::AppId => AppId;
    "platform" Always Rule::Platform => Platform;
    "app_version" Installed Rule::Text(32) => AppVersion;
    "original_timestamp" Always Rule::OriginalTimestamp;
    "sent_at" No Rule::SentAt;
    "anonymous_id" Device Rule::AnonymousId => AnonymousId;
    "user_id" Login Rule::Text(128) => UserId;
    "session_id" No Rule::Text(64) => SessionId;
    "event_index" No Rule::EventIndex => EventNumber;
    "is_test" No Rule::IsTest;
    "locale" No TEXT => Locale;
    "timezone" No TEXT => Timezone;
    "device" No Rule::Object(&DEVICE);
    "user_agent" No Rule::Text(1024) => UserAgent;
    "ip" No TEXT;
    "page" Browser Rule::Object(&PAGE);
    "screen" No Rule::Object(&SCREEN);
    "campaign" No Rule::Object(&CAMPAIGN);
    "click_id" No Rule::Text(256) => ClickId;
    "click_id_type" No Rule::Text(256) => ClickIdType;
    "install_source" No Rule::Text(64) => InstallSource;
    "activity_event_id" No Rule::ActivityEventId => ActivityEventId;
    "content" Content Rule::Object(&CONTENT);
    "playback" Playback Rule::Object(&PLAYBACK);
    "upload" Upload Rule::Object(&UPLOAD);
    "commerce" Order Rule::Object(&COMMERCE);
    "creator" Creator Rule::Object(&CREATOR);
    "experiments" No Rule::Experiments => Experiments;
    "properties" No Rule::Properties => Properties;
    "library" Always Rule::Object(&LIBRARY);
}

/// The event itself.
pub(crate) static ENVELOPE: &Group = &ENVELOPE_PARTS;
/// How many values an event has.
pub(crate) const PLACES: usize = ENVELOPE_PARTS.end();

/// The parts by the place of their value.
pub(crate) static PARTS: [&Part; PLACES] = {
    let groups: [&[Part]; 11] = [
        DEVICE.parts,
        PAGE.parts,
        SCREEN.parts,
        CAMPAIGN.parts,
        CONTENT.parts,
        PLAYBACK.parts,
        UPLOAD.parts,
        COMMERCE.parts,
        CREATOR.parts,
        LIBRARY.parts,
        ENVELOPE_PARTS.parts,
    ];
    let mut parts = [&ENVELOPE_PARTS.parts[0]; PLACES];
    let (mut place, mut group) = (0, 0);
    while group < groups.len() {
        let mut at = 0;
        while at < groups[group].len() {
            parts[place] = &groups[group][at];
            place += 1;
            at += 1;
        }
        group += 1;
    }
    parts
};
/// Places of values that are read by name.
pub(crate) const APP_ID: usize = ENVELOPE_PARTS.place("/app_id");
pub(crate) const PLATFORM: usize = ENVELOPE_PARTS.place("/platform");
pub(crate) const ANONYMOUS_ID: usize = ENVELOPE_PARTS.place("/anonymous_id");
pub(crate) const LIBRARY_NAME: usize = LIBRARY.place("/library/name");

/// Event names of the contract; others flow through like any, unless the operator refuses them.
pub(crate) const STANDARD_NAMES: &[&str] = &[
    "app_open",
    "first_open",
    "app_updated",
    "login",
    "register",
    "page_view",
    "screen_view",
    "content_view",
    "content_published",
    "content_featured",
    "upload_step",
    "playback_started",
    "playback_ping",
    "playback_paused",
    "playback_resumed",
    "playback_ended",
    "playback_error",
    "vip_page_viewed",
    "vip_opened",
    "gift_sent",
    "tag_used",
    "search",
    "share",
    "comment",
    "follow",
    "activity_event",
    "experiment_exposed",
    "creator_level_changed",
    "ad_shown",
    "ad_clicked",
    "content_distributed",
    "content_captured",
    "image_processed",
];
