//! The dimensions of the truth as small numbers, which are packed into keys of cells. They repeat lists of the
//! pipeline on purpose: a change on either side must be noticed.

/// Every `app_id` that the clients send. Configure them as `ingest.apps`.
pub const APP_IDS: &[&str] = &["web-main", "app-main", "pc-recorder"];

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(crate) enum $name { $($variant,)+ }

        impl $name {
            #[allow(dead_code, reason = "the list serves the tests of some of the enums only")]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

named!(
    /// Apps, in the order of [`APP_IDS`].
    App { Web = "web-main", Mobile = "app-main", Recorder = "pc-recorder", }
);

named!(Platform {
    Web = "web",
    H5 = "h5",
    Ios = "ios",
    Android = "android",
    Pc = "pc",
    MiniProgram = "mini_program",
    Server = "server",
});

named!(
    /// Channel groups.
    ChannelGroup {
        Direct = "direct",
        PaidSearch = "paid_search",
        OrganicSearch = "organic_search",
        PaidSocial = "paid_social",
        OrganicSocial = "organic_social",
        PaidVideo = "paid_video",
        OrganicVideo = "organic_video",
        Display = "display",
        FeedAds = "feed_ads",
        Email = "email",
        Affiliate = "affiliate",
        Referral = "referral",
        AppStore = "app_store",
        MiniProgram = "mini_program",
        InAppBrowser = "in_app_browser",
        Bundle = "bundle",
        Exchange = "exchange",
        Push = "push",
        Sms = "sms",
        AiAssistant = "ai_assistant",
        Internal = "internal",
        Other = "other",
    }
);

named!(TimeSource {
    Client = "client",
    Corrected = "corrected",
    Received = "received",
    Clamped = "clamped",
});

named!(EventKind { Event = "event", Duplicate = "duplicate", Test = "test", Bot = "bot", });

named!(
    /// Status of an `activity_event_id`.
    Status {
        Ok = "ok",
        Unregistered = "unregistered",
        UnknownKey = "unknown_key",
        OutsideDates = "outside_dates",
        WrongApp = "wrong_app",
    }
);

named!(
    /// Event names. Those after `ImageProcessed` are not in the standard list.
    EventName {
        AppOpen = "app_open",
        FirstOpen = "first_open",
        AppUpdated = "app_updated",
        Login = "login",
        Register = "register",
        PageView = "page_view",
        ScreenView = "screen_view",
        ContentView = "content_view",
        ContentPublished = "content_published",
        ContentFeatured = "content_featured",
        UploadStep = "upload_step",
        PlaybackStarted = "playback_started",
        PlaybackPing = "playback_ping",
        PlaybackPaused = "playback_paused",
        PlaybackResumed = "playback_resumed",
        PlaybackEnded = "playback_ended",
        PlaybackError = "playback_error",
        VipPageViewed = "vip_page_viewed",
        VipOpened = "vip_opened",
        GiftSent = "gift_sent",
        TagUsed = "tag_used",
        Search = "search",
        Share = "share",
        Comment = "comment",
        Follow = "follow",
        ActivityEvent = "activity_event",
        ExperimentExposed = "experiment_exposed",
        CreatorLevelChanged = "creator_level_changed",
        AdShown = "ad_shown",
        AdClicked = "ad_clicked",
        ContentDistributed = "content_distributed",
        ContentCaptured = "content_captured",
        ImageProcessed = "image_processed",
        DanmakuSent = "danmaku_sent",
        ThemeChanged = "theme_changed",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_are_the_apps_in_their_order() {
        let spelled: Vec<_> = App::ALL.iter().map(|app| app.as_str()).collect();
        assert_eq!(spelled, APP_IDS);
    }
}
