//! The table of the contract itself. `schemas/raw_event.schema.json` publishes the same; `tests/examples.rs`
//! compares both.
use event::Field;

use super::field::{ContractField, FieldGroup, FieldRule, Required};
use crate::json::KeyLiteral;

macro_rules! group {
    ($name:ident after $first:expr, $prefix:literal: $($key:literal $required:ident $rule:expr $(=> $field:ident)?;)*) => {
        static $name: FieldGroup = FieldGroup::new($first, &[$(ContractField {
            key: $key,
            literal: KeyLiteral::new($key),
            pointer: concat!($prefix, "/", $key),
            required: Required::$required,
            rule: $rule,
            stored_as: group!(@field $($field)?),
        },)*]);
    };
    (@field) => { None };
    (@field $field:ident) => { Some(Field::$field) };
}

/// Text bounded only by the size of the event.
const TEXT: FieldRule = FieldRule::Text(usize::MAX);

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
    "screen_width" No FieldRule::Count => ScreenWidth;
    "screen_height" No FieldRule::Count => ScreenHeight;
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
    "source" No FieldRule::Word(CONTENT_SOURCES) => ContentSource;
    "author_id" No TEXT => AuthorId;
    "producer_type" No FieldRule::Word(PRODUCER_TYPES) => ProducerType;
    "category" No TEXT => Category;
    "tags" No FieldRule::Tags => Tags;
    "duration_ms" No FieldRule::Count => ContentDurationMs;
    "published_at" No FieldRule::Time => PublishedAt;
}
group! { PLAYBACK after CONTENT.end(), "/playback":
    "id" Always TEXT => PlaybackId;
    "state" No TEXT => PlaybackState;
    "position_ms" No FieldRule::Count => PositionMs;
    "played_ms" No FieldRule::Count => PlayedMs;
    "quality" No TEXT => PlaybackQuality;
    "rebuffer_ms" No FieldRule::Count => RebufferMs;
}
group! { UPLOAD after PLAYBACK.end(), "/upload":
    "id" Always TEXT => UploadId;
    "step" Always FieldRule::Word(UPLOAD_STEPS) => UploadStep;
    "bytes" No FieldRule::Count => UploadBytes;
    "duration_ms" No FieldRule::Count => UploadDurationMs;
    "error_code" No TEXT => ErrorCode;
}
group! { COMMERCE after UPLOAD.end(), "/commerce":
    "order_id" Order FieldRule::Text(usize::MAX) => OrderId;
    "product_id" No TEXT => ProductId;
    "product_type" No TEXT => ProductType;
    "quantity" No FieldRule::Count => Quantity;
    "revenue_minor" No FieldRule::Amount => RevenueMinor;
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
group! { ENVELOPE_FIELDS after LIBRARY.end(), "":
    "schema_version" Always FieldRule::SchemaVersion;
    "event_id" Always FieldRule::EventId;
    "event_name" Always FieldRule::EventName => EventName;
    "app_id" Always FieldRule::AppId => AppId;
    "platform" Always FieldRule::Platform => Platform;
    "app_version" Installed FieldRule::Text(32) => AppVersion;
    "original_timestamp" Always FieldRule::OriginalTimestamp;
    "sent_at" No FieldRule::SentAt;
    "anonymous_id" Device FieldRule::AnonymousId => AnonymousId;
    "user_id" Login FieldRule::Text(128) => UserId;
    "session_id" No FieldRule::Text(64) => SessionId;
    "event_index" No FieldRule::EventIndex => EventNumber;
    "is_test" No FieldRule::IsTest;
    "locale" No TEXT => Locale;
    "timezone" No TEXT => Timezone;
    "device" No FieldRule::Object(&DEVICE);
    "user_agent" No FieldRule::Text(1024) => UserAgent;
    "ip" No TEXT;
    "page" Browser FieldRule::Object(&PAGE);
    "screen" No FieldRule::Object(&SCREEN);
    "campaign" No FieldRule::Object(&CAMPAIGN);
    "click_id" No FieldRule::Text(256) => ClickId;
    "click_id_type" No FieldRule::Text(256) => ClickIdType;
    "install_source" No FieldRule::Text(64) => InstallSource;
    "activity_event_id" No FieldRule::ActivityEventId => ActivityEventId;
    "content" Content FieldRule::Object(&CONTENT);
    "playback" Playback FieldRule::Object(&PLAYBACK);
    "upload" Upload FieldRule::Object(&UPLOAD);
    "commerce" Order FieldRule::Object(&COMMERCE);
    "creator" Creator FieldRule::Object(&CREATOR);
    "experiments" No FieldRule::Experiments => Experiments;
    "properties" No FieldRule::Properties => Properties;
    "library" Always FieldRule::Object(&LIBRARY);
}

/// The fields of the event itself.
pub(crate) static ENVELOPE: &FieldGroup = &ENVELOPE_FIELDS;
/// Number of values an event has: one place for each field of each group.
pub(crate) const PLACES: usize = ENVELOPE_FIELDS.end();

/// The fields by the place of their value.
pub(crate) static CONTRACT_FIELDS: [&ContractField; PLACES] = {
    let groups: [&[ContractField]; 11] = [
        DEVICE.fields,
        PAGE.fields,
        SCREEN.fields,
        CAMPAIGN.fields,
        CONTENT.fields,
        PLAYBACK.fields,
        UPLOAD.fields,
        COMMERCE.fields,
        CREATOR.fields,
        LIBRARY.fields,
        ENVELOPE_FIELDS.fields,
    ];
    let mut fields = [&ENVELOPE_FIELDS.fields[0]; PLACES];
    let (mut place, mut group) = (0, 0);
    while group < groups.len() {
        let mut at = 0;
        while at < groups[group].len() {
            fields[place] = &groups[group][at];
            place += 1;
            at += 1;
        }
        group += 1;
    }
    fields
};

/// Places of values that are read by name.
pub(crate) const APP_ID: usize = ENVELOPE_FIELDS.place("/app_id");
pub(crate) const PLATFORM: usize = ENVELOPE_FIELDS.place("/platform");
pub(crate) const ANONYMOUS_ID: usize = ENVELOPE_FIELDS.place("/anonymous_id");
pub(crate) const LIBRARY_NAME: usize = LIBRARY.place("/library/name");
