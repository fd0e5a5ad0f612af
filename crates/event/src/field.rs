//! The field catalogue: every field that cubes, metrics, rules and `millrace cat` can name, with its type and who
//! sets it. The batch format, the cube compiler, the DDL and the reference are derived from this list.

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// UTF-8 text; '' when absent.
    Text,
    /// A signed 64-bit integer; 0 when absent.
    Number,
    /// A 64-bit hash of an identity; 0 when absent.
    Key,
    /// A 128-bit identifier.
    Uuid,
    /// A list of texts.
    List,
    /// A map of text to text.
    Map,
}

/// Who sets a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldOrigin {
    /// The client sent it.
    Client,
    /// Ingest stamped it.
    Ingest,
    /// Enrich stamped it.
    Enrich,
}

macro_rules! fields {
    ($($variant:ident $name:literal $kind:ident $origin:ident $doc:literal,)*) => {
        /// A field of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Field { $(#[doc = $doc] $variant,)* }

        /// Every field, in the order of the catalogue.
        pub const FIELDS: &[Field] = &[$(Field::$variant,)*];

        impl Field {
            /// The field's name in cubes, tables and batches.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The type of its values.
            pub fn kind(self) -> FieldKind {
                match self { $(Self::$variant => FieldKind::$kind,)* }
            }

            /// Who sets it.
            pub fn origin(self) -> FieldOrigin {
                match self { $(Self::$variant => FieldOrigin::$origin,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// The field called `name`.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    AppId "app_id" Text Client "Which application sent the event.",
    Platform "platform" Text Client "web, h5, ios, android, pc, mini_program or server.",
    AppVersion "app_version" Text Client "Version of the application.",
    EventName "event_name" Text Client "What happened.",
    EventId "event_id" Uuid Client "Identifier of the event, unique per device.",
    EventNumber "event_number" Number Client "The client's `event_index` plus 1; 0 when it sends none.",
    AnonymousId "anonymous_id" Text Client "The installation or browser.",
    UserId "user_id" Text Client "The account, when logged in.",
    SessionId "session_id" Text Client "The client's session. If it sends none, enrich derives one: 16 hex digits.",
    Locale "locale" Text Client "Language tag (BCP 47).",
    Timezone "timezone" Text Client "Time zone name (IANA).",
    DeviceId "device_id" Text Client "`device.id`.",
    DeviceManufacturer "device_manufacturer" Text Client "`device.manufacturer`.",
    DeviceModel "device_model" Text Client "`device.model`.",
    DeviceType "device_type" Text Client "`device.type`.",
    OsName "os_name" Text Client "`device.os_name`.",
    OsVersion "os_version" Text Client "`device.os_version`.",
    ScreenWidth "screen_width" Number Client "`device.screen_width` in pixels.",
    ScreenHeight "screen_height" Number Client "`device.screen_height` in pixels.",
    NetworkType "network_type" Text Client "`device.network_type`.",
    UserAgent "user_agent" Text Client "The browser's user agent.",
    PageUrl "page_url" Text Client "`page.url`.",
    PagePath "page_path" Text Client "`page.path`.",
    PageTitle "page_title" Text Client "`page.title`.",
    PageReferrer "page_referrer" Text Client "`page.referrer`.",
    PageType "page_type" Text Client "`page.page_type`: home, list, play, vip_landing, activity, upload, …",
    ScreenName "screen_name" Text Client "`screen.name`.",
    CampaignSource "campaign_source" Text Client "`campaign.source`.",
    CampaignMedium "campaign_medium" Text Client "`campaign.medium`.",
    CampaignName "campaign_name" Text Client "`campaign.name`.",
    CampaignTerm "campaign_term" Text Client "`campaign.term`.",
    CampaignContent "campaign_content" Text Client "`campaign.content`.",
    CampaignId "campaign_id" Text Client "`campaign.id`.",
    ClickId "click_id" Text Client "Identifier of the advertisement click.",
    ClickIdType "click_id_type" Text Client "gclid, fbclid, bd_vid, qz_gdt, …",
    InstallSource "install_source" Text Client "The app store or package that the client was installed from.",
    ActivityEventId "activity_event_id" Text Client "`activityID_eventID` as the client sent it.",
    ContentId "content_id" Text Client "`content.id`.",
    ContentType "content_type" Text Client "`content.type`.",
    ContentSource "content_source" Text Client "`content.source`: pc_recorder, mobile_recorder, web_upload.",
    AuthorId "author_id" Text Client "`content.author_id`.",
    ProducerType "producer_type" Text Client "`content.producer_type`: pgc, ugc, pugc.",
    Category "category" Text Client "`content.category`.",
    Tags "tags" List Client "`content.tags`.",
    ContentDurationMs "content_duration_ms" Number Client "`content.duration_ms`.",
    PublishedAt "published_at" Number Client "`content.published_at` in epoch milliseconds.",
    PlaybackId "playback_id" Text Client "`playback.id`.",
    PlaybackState "playback_state" Text Client "`playback.state`.",
    PositionMs "position_ms" Number Client "`playback.position_ms`.",
    PlayedMs "played_ms" Number Client "`playback.played_ms`: watched since the previous event of this playback.",
    PlaybackQuality "playback_quality" Text Client "`playback.quality`.",
    RebufferMs "rebuffer_ms" Number Client "`playback.rebuffer_ms`.",
    UploadId "upload_id" Text Client "`upload.id`.",
    UploadStep "upload_step" Text Client "`upload.step`: select, edit, encode, transfer, submit, done, failed.",
    UploadBytes "upload_bytes" Number Client "`upload.bytes`.",
    UploadDurationMs "upload_duration_ms" Number Client "`upload.duration_ms`.",
    ErrorCode "error_code" Text Client "`upload.error_code`.",
    OrderId "order_id" Text Client "`commerce.order_id`.",
    ProductId "product_id" Text Client "`commerce.product_id`.",
    ProductType "product_type" Text Client "`commerce.product_type`.",
    Quantity "quantity" Number Client "`commerce.quantity`.",
    RevenueMinor "revenue_minor" Number Client "`commerce.revenue_minor`: minor units of the currency, negative for a refund.",
    Currency "currency" Text Client "`commerce.currency`.",
    EntryPoint "entry_point" Text Client "`commerce.entry_point`: pc_vip_list, play_page, mobile, recorder_vip, …",
    GiftId "gift_id" Text Client "`commerce.gift_id`.",
    ReceiverId "receiver_id" Text Client "`commerce.receiver_id`.",
    CreatorId "creator_id" Text Client "`creator.id`.",
    CreatorLevel "creator_level" Text Client "`creator.level`.",
    PreviousLevel "previous_level" Text Client "`creator.previous_level`.",
    Experiments "experiments" Map Client "Variant by experiment name.",
    Properties "properties" Text Client "The event's own `properties`, as JSON text.",
    Library "library" Text Client "`library.name`.",
    LibraryVersion "library_version" Text Client "`library.version`.",
    EventTime "event_time" Number Ingest "When it happened, epoch milliseconds, after clock correction.",
    ReceivedAt "received_at" Number Ingest "When the broker received it, epoch milliseconds.",
    TimeSource "time_source" Text Ingest "client, corrected, received or clamped.",
    ClockSkewMs "clock_skew_ms" Number Ingest "received_at - sent_at in milliseconds; 0 when there is no sent_at.",
    LatenessMs "lateness_ms" Number Ingest "received_at - event_time in milliseconds.",
    OriginPartition "origin_partition" Number Ingest "Partition of the raw record.",
    OriginOffset "origin_offset" Number Ingest "Offset of the raw record.",
    OriginIndex "origin_index" Number Ingest "Position of the event in the raw record's array.",
    Kind "kind" Text Enrich "event, duplicate, test or bot. Ingest sets event or test; enrich sets duplicate and bot.",
    DeviceKey "device_key" Key Enrich "Keyed hash of app_id:anonymous_id.",
    UserKey "user_key" Key Enrich "Keyed hash of app_id:user_id; 0 when not logged in.",
    IsNewDevice "is_new_device" Number Enrich "1 on the first accepted event of the device ever, else 0.",
    FirstSeenDay "first_seen_day" Text Enrich "Business day of the device's first accepted event, as 2026-03-02.",
    DaysSinceFirst "days_since_first" Number Enrich "Business day of the event minus first_seen_day; negative for an event older than the device's first.",
    ActiveDefinition "active_definition" List Enrich "Definitions of active that this event counts for: those in active_day, active_week and active_month, and `any` on the first event of a device or session.",
    ActiveDay "active_day" List Enrich "Definitions by which the device became active on this business day with this event.",
    ActiveWeek "active_week" List Enrich "Definitions by which the device became active in this ISO week with this event.",
    ActiveMonth "active_month" List Enrich "Definitions by which the device became active in this month with this event.",
    SessionStart "session_start" Number Enrich "1 on the first event of a session, else 0.",
    ChannelGroup "channel_group" Text Enrich "Where the visit came from, as one of the channel groups.",
    ChannelSource "source" Text Enrich "The source behind the channel, for example baidu.",
    ChannelMedium "medium" Text Enrich "The medium behind the channel, for example cpc.",
    ChannelCampaign "campaign" Text Enrich "The campaign behind the channel.",
    ChannelRule "channel_rule" Text Enrich "Name of the channel rule that matched.",
    FirstChannelGroup "first_channel_group" Text Enrich "channel_group of the device's first event, written once.",
    FirstSource "first_source" Text Enrich "source of the device's first event, written once.",
    DeviceBrand "device_brand" Text Enrich "`device.manufacturer`, else the brand its user agent names.",
    Browser "browser" Text Enrich "Browser by the user agent, without version.",
    InAppBrowser "in_app_browser" Text Enrich "App whose built-in browser shows the page: wechat, weibo, qq, …; '' for none.",
    ActivityId "activity_id" Text Enrich "First half of the activity event ID.",
    ActivityEventKey "activity_event_key" Text Enrich "Second half of the activity event ID.",
    ActivityType "activity_type" Text Enrich "template or custom; '' when the activity is not registered.",
    ActivityStatus "activity_status" Text Enrich "ok, unregistered, wrong_app, unknown_key or outside_dates.",
    ActivityFirstTouch "activity_first_touch" Number Enrich "1 on the device's first event of this activity with status ok, else 0.",
    AttributedActivityId "attributed_activity_id" Text Enrich "On a conversion: the activity the device touched last, within its attribution window.",
    PlayStart "play_start" Number Enrich "1 on the first event of a playback, else 0.",
    EffectivePlay "effective_play" Number Enrich "1 on the event with which a playback reaches 10 s watched, else 0.",
    CompletedPlay "completed_play" Number Enrich "1 on the event with which a playback reaches 90 % of its content's duration, else 0.",
    Replay "replay" Number Enrich "1 on the first event of a playback whose content the device had started before, else 0.",
    PlayedTotalMs "played_total_ms" Number Enrich "Watched so far in this playback, this event included, in milliseconds.",
    PublishDay "publish_day" Text Enrich "Business day of published_at, as 2026-03-02. On content_published without published_at: that of the event.",
    RepeatedOrder "repeated_order" Number Enrich "1 on an order whose order_id the device sent before: it counts as an event, not as an order.",
    PayerKey "payer_key" Key Enrich "On an order: user_key, else device_key.",
    MatchedEntryPoint "matched_entry_point" Text Enrich "On vip_opened: entry point of the VIP page the device saw within the 30 min before.",
    LostEvents "lost_events" Number Enrich "Events of the device that never arrived: the gap in event_index before this event.",
}

impl Field {
    /// The field's place in [`FIELDS`].
    pub fn index(self) -> usize {
        self as usize
    }
}
