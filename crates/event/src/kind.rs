//! Closed lists of values. Their text serves as metric label, batch value and ClickHouse value.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value as written in events, labels and tables.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value written as `text`, if there is one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What an event counts as. Only `event` counts in cubes other than `quality`.
    Kind {
        /// A valid event of a real client, received for the first time.
        Event = "event",
        /// An event that was accepted before, within the de-duplication window.
        Duplicate = "duplicate",
        /// An event sent with `is_test`.
        Test = "test",
        /// An event of a known crawler or headless browser.
        Bot = "bot",
    }
}

words! {
    /// Where an event was produced.
    Platform {
        /// Desktop browser.
        Web = "web",
        /// Mobile browser.
        H5 = "h5",
        /// iOS app.
        Ios = "ios",
        /// Android app.
        Android = "android",
        /// PC client.
        Pc = "pc",
        /// Mini program inside another app.
        MiniProgram = "mini_program",
        /// A server acting for a user.
        Server = "server",
    }
}

words! {
    /// The clock that `event_time` comes from.
    TimeSource {
        /// The device's clock, unchanged.
        Client = "client",
        /// The device's clock, corrected by its measured skew.
        Corrected = "corrected",
        /// The broker's clock, because the event was sent before it happened.
        Received = "received",
        /// The broker's clock, because the event was in the future.
        Clamped = "clamped",
    }
}

words! {
    /// How an event's activity relates to the registry.
    ActivityStatus {
        /// Registered, right app, known key, inside its dates.
        Ok = "ok",
        /// The activity is not in the registry.
        Unregistered = "unregistered",
        /// The activity does not belong to this app.
        WrongApp = "wrong_app",
        /// The activity has no event with this key.
        UnknownKey = "unknown_key",
        /// Before the start of the activity, or at or after its end.
        OutsideDates = "outside_dates",
    }
}
