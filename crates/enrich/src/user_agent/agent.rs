//! The result of parsing a user agent.

/// Browser, system and device of a user agent; '' for what it does not contain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// The browser, without version: Chrome, Mobile Safari, WeChat, Quark, …
    pub browser: String,
    /// The app whose built-in browser it is, such as wechat; '' for a browser of its own.
    pub in_app_browser: &'static str,
    /// Android, iOS, HarmonyOS, Windows, macOS, Linux, …
    pub os_name: String,
    /// Its version, such as 17.4.1, as precise as the user agent has it.
    pub os_version: String,
    /// The maker of the device, spelt as its devices spell it: HUAWEI, Xiaomi, vivo, …
    pub device_brand: String,
    /// The model, as the device reports it.
    pub device_model: String,
    /// Whether it is a known crawler or a headless browser.
    pub is_bot: bool,
}

impl UserAgent {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let Self { browser, os_name, os_version, device_brand, device_model, in_app_browser: _, is_bot: _ } =
            self;
        [browser, os_name, os_version, device_brand, device_model].iter().map(|text| text.capacity()).sum()
    }

    /// The result for a user agent that contains nothing known.
    pub(super) const NOTHING: &Self = &Self {
        browser: String::new(),
        in_app_browser: "",
        os_name: String::new(),
        os_version: String::new(),
        device_brand: String::new(),
        device_model: String::new(),
        is_bot: false,
    };
}
