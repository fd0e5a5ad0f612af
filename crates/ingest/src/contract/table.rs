//! The table of the contract itself. `schemas/raw_event.schema.json` publishes the same; `tests/examples.rs`
//! compares both.
use event::{Field, FieldLimit};

use super::field::{ContractField, FieldGroup, FieldRule, Required, limit_of};
use crate::json::KeyLiteral;

macro_rules! group {
    ($name:ident after $first:expr, $prefix:literal: $($key:literal $required:ident $rule:expr $(=> $field:ident)?;)*) => {
        static $name: FieldGroup = FieldGroup::new($first, &[$(ContractField {
            key: $key,
            literal: KeyLiteral::new($key),
            pointer: concat!($prefix, "/", $key),
            required: Required::$required,
            rule: $rule.of_field(concat!($prefix, "/", $key)),
            stored_as: group!(@field $($field)?),
        },)*]);
    };
    (@field) => { None };
    (@field $field:ident) => { Some(Field::$field) };
}

/// The rule that [`FIELD_LIMITS`](event::FIELD_LIMITS) has for the field.
const LIMIT: FieldRule = FieldRule::Listed;

/// A whole number that is not negative.
const COUNT: FieldRule = FieldRule::WholeNumber(0, i64::MAX);

const PRODUCER_TYPES: &[&str] = &["pgc", "ugc", "pugc"];
const CONTENT_SOURCES: &[&str] = &["pc_recorder", "mobile_recorder", "web_upload"];
const UPLOAD_STEPS: &[&str] = &["select", "edit", "encode", "transfer", "submit", "done", "failed"];

group! { DEVICE after 0, "/device":
    "id" No LIMIT => DeviceId;
    "manufacturer" No LIMIT => DeviceManufacturer;
    "model" No LIMIT => DeviceModel;
    "type" No LIMIT => DeviceType;
    "os_name" No LIMIT => OsName;
    "os_version" No LIMIT => OsVersion;
    "screen_width" No COUNT => ScreenWidth;
    "screen_height" No COUNT => ScreenHeight;
    "network_type" No LIMIT => NetworkType;
}
group! { PAGE after DEVICE.end(), "/page":
    "url" Always LIMIT => PageUrl;
    "path" No LIMIT => PagePath;
    "title" No LIMIT => PageTitle;
    "referrer" No LIMIT => PageReferrer;
    "page_type" No LIMIT => PageType;
}
group! { SCREEN after PAGE.end(), "/screen":
    "name" No LIMIT => ScreenName;
}
group! { CAMPAIGN after SCREEN.end(), "/campaign":
    "source" No LIMIT => CampaignSource;
    "medium" No LIMIT => CampaignMedium;
    "name" No LIMIT => CampaignName;
    "term" No LIMIT => CampaignTerm;
    "content" No LIMIT => CampaignContent;
    "id" No LIMIT => CampaignId;
}
group! { CONTENT after CAMPAIGN.end(), "/content":
    "id" Always LIMIT => ContentId;
    "type" No LIMIT => ContentType;
    "source" No FieldRule::Word(CONTENT_SOURCES) => ContentSource;
    "author_id" No LIMIT => AuthorId;
    "producer_type" No FieldRule::Word(PRODUCER_TYPES) => ProducerType;
    "category" No LIMIT => Category;
    "tags" No FieldRule::Tags => Tags;
    "duration_ms" No LIMIT => ContentDurationMs;
    "published_at" No FieldRule::Time => PublishedAt;
}
group! { PLAYBACK after CONTENT.end(), "/playback":
    "id" Always LIMIT => PlaybackId;
    "state" No LIMIT => PlaybackState;
    "position_ms" No LIMIT => PositionMs;
    "played_ms" No LIMIT => PlayedMs;
    "quality" No LIMIT => PlaybackQuality;
    "rebuffer_ms" No LIMIT => RebufferMs;
}
group! { UPLOAD after PLAYBACK.end(), "/upload":
    "id" Always LIMIT => UploadId;
    "step" Always FieldRule::Word(UPLOAD_STEPS) => UploadStep;
    "bytes" No LIMIT => UploadBytes;
    "duration_ms" No LIMIT => UploadDurationMs;
    "error_code" No LIMIT => ErrorCode;
}
group! { COMMERCE after UPLOAD.end(), "/commerce":
    "order_id" Order LIMIT => OrderId;
    "product_id" No LIMIT => ProductId;
    "product_type" No LIMIT => ProductType;
    "quantity" No LIMIT => Quantity;
    "revenue_minor" No LIMIT => RevenueMinor;
    "currency" No LIMIT => Currency;
    "entry_point" No LIMIT => EntryPoint;
    "gift_id" No LIMIT => GiftId;
    "receiver_id" No LIMIT => ReceiverId;
}
group! { CREATOR after COMMERCE.end(), "/creator":
    "id" Always LIMIT => CreatorId;
    "level" No LIMIT => CreatorLevel;
    "previous_level" No LIMIT => PreviousLevel;
}
group! { LIBRARY after CREATOR.end(), "/library":
    "name" Always LIMIT => Library;
    "version" Always LIMIT => LibraryVersion;
}
group! { ENVELOPE_FIELDS after LIBRARY.end(), "":
    "schema_version" Always FieldRule::SchemaVersion;
    "event_id" Always FieldRule::EventId;
    "event_name" Always FieldRule::EventName => EventName;
    "app_id" Always FieldRule::AppId => AppId;
    "platform" Always FieldRule::Platform => Platform;
    "app_version" Installed LIMIT => AppVersion;
    "original_timestamp" Always FieldRule::OriginalTimestamp;
    "sent_at" No FieldRule::SentAt;
    "anonymous_id" Device FieldRule::AnonymousId => AnonymousId;
    "user_id" Login LIMIT => UserId;
    "session_id" No LIMIT => SessionId;
    "event_index" No FieldRule::EventIndex => EventNumber;
    "is_test" No FieldRule::IsTest;
    "locale" No LIMIT => Locale;
    "timezone" No LIMIT => Timezone;
    "device" No FieldRule::Object(&DEVICE);
    "user_agent" No LIMIT => UserAgent;
    "ip" No FieldRule::AnyText;
    "page" Browser FieldRule::Object(&PAGE);
    "screen" No FieldRule::Object(&SCREEN);
    "campaign" No FieldRule::Object(&CAMPAIGN);
    "click_id" No LIMIT => ClickId;
    "click_id_type" No LIMIT => ClickIdType;
    "install_source" No LIMIT => InstallSource;
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

/// Most characters of `anonymous_id`.
pub(crate) const ANONYMOUS_ID_CHARACTERS: usize = match limit_of("/anonymous_id") {
    FieldLimit::Characters(most) => most,
    FieldLimit::CutCharacters(_) | FieldLimit::WholeNumber(..) => 0,
};

/// Places of values that are read by name.
pub(crate) const APP_ID: usize = ENVELOPE_FIELDS.place("/app_id");
pub(crate) const PLATFORM: usize = ENVELOPE_FIELDS.place("/platform");
pub(crate) const ANONYMOUS_ID: usize = ENVELOPE_FIELDS.place("/anonymous_id");
pub(crate) const LIBRARY_NAME: usize = LIBRARY.place("/library/name");
