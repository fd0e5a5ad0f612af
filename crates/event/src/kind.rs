//! Closed word lists whose text is metric label, batch value and ClickHouse value at once.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value as it stands in events, labels and tables.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value that reads `text`, if there is one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What a record is to the cubes; only `event` feeds any but `quality`.
    Kind {
        /// A valid, unique event of a real client.
        Event = "event",
        /// An event whose key was accepted before, inside the window.
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
    /// Which clock `event_time` comes from.
    TimeSource {
        /// The device's clock, taken as it is.
        Client = "client",
        /// The device's clock, moved by its measured skew.
        Corrected = "corrected",
        /// The broker's clock, because the device contradicts itself.
        Received = "received",
        /// The broker's clock, because the event claimed the future.
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
        /// Before the activity's start, or at or after its end.
        OutsideDates = "outside_dates",
    }
}
