//! Devices. Their properties are derived from the seed and their number; only their history is stored.

use crate::clock::TimeFormat;
use crate::config::Config;
use crate::dice::Dice;
use crate::expected_device::ExpectedDevice;
use crate::json_text::{number, text};
use crate::names::{App, ChannelGroup, Platform};
use crate::tables::*;

const DEVICE: u64 = 1;

/// (name, version) of the client libraries.
pub(crate) const LIBRARIES: [(&str, &str); 13] = [
    ("web-sdk", "2.3.1"),
    ("web-sdk", "2.2.0"),
    ("web-sdk", "1.9.4"),
    ("android-sdk", "4.1.0"),
    ("android-sdk", "4.0.2"),
    ("android-sdk", "3.8.7"),
    ("ios-sdk", "4.1.0"),
    ("ios-sdk", "4.0.0"),
    ("recorder-sdk", "1.6.2"),
    ("recorder-sdk", "1.4.0"),
    ("mini-sdk", "1.2.0"),
    ("server-java", "3.0.1"),
    ("server-go", "0.9.0"),
];
pub(crate) const SERVER_LIBRARIES: [u8; 2] = [11, 12];

const PLATFORMS: [(Platform, u32); 6] = [
    (Platform::Android, 38),
    (Platform::Web, 22),
    (Platform::Ios, 15),
    (Platform::H5, 13),
    (Platform::Pc, 7),
    (Platform::MiniProgram, 5),
];

/// The history of a device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) next_index: u32,
    pub(crate) opened: bool,
    pub(crate) in_session: bool,
    pub(crate) registered: bool,
    pub(crate) counted: ExpectedDevice,
}

/// The properties of a device. `identity` holds the JSON members that all its events share.
pub(crate) struct Device {
    pub(crate) platform: Platform,
    pub(crate) app: App,
    pub(crate) library: u8,
    pub(crate) anonymous_id: String,
    /// Whether it has an account from the start.
    pub(crate) has_account: bool,
    pub(crate) user_id: u32,
    pub(crate) install_source: Option<(&'static str, ChannelGroup)>,
    /// Channel group of its sessions without evidence.
    pub(crate) otherwise: ChannelGroup,
    /// Whether it is a crawler or a headless browser.
    pub(crate) bot: bool,
    /// How far its clock is ahead, ms; negative if it is behind.
    pub(crate) skew_ms: i64,
    pub(crate) time_format: TimeFormat,
    pub(crate) sends_sent_at: bool,
    pub(crate) has_index: bool,
    pub(crate) sends_session_id: bool,
    pub(crate) identity: Vec<u8>,
}

/// App and `anonymous_id` of a device, which servers know too.
pub(crate) fn key_of(seed: u64, device: u32) -> (App, String) {
    let mut dice = Dice::of(seed, DEVICE, device);
    let platform = dice.weighted(&PLATFORMS);
    (app_of(platform), anonymous_id(&mut dice, platform))
}

fn app_of(platform: Platform) -> App {
    match platform {
        Platform::Web | Platform::H5 | Platform::Server => App::Web,
        Platform::Ios | Platform::Android | Platform::MiniProgram => App::Mobile,
        Platform::Pc => App::Recorder,
    }
}

fn anonymous_id(dice: &mut Dice, platform: Platform) -> String {
    let bytes = dice.bytes::<16>();
    match platform {
        Platform::Ios => uuid::Uuid::from_bytes(bytes).hyphenated().to_string().to_uppercase(),
        Platform::Web | Platform::H5 => uuid::Builder::from_random_bytes(bytes).into_uuid().to_string(),
        Platform::MiniProgram => format!("o{:027x}", u128::from_le_bytes(bytes) >> 20),
        _ => format!("{:016x}", u128::from_le_bytes(bytes) as u64),
    }
}

impl Device {
    pub(crate) fn new(device: u32, config: &Config) -> Self {
        let mut dice = Dice::of(config.seed, DEVICE, device);
        let platform = dice.weighted(&PLATFORMS);
        let anonymous_id = anonymous_id(&mut dice, platform);
        let dice = &mut dice;
        let library = match platform {
            Platform::Web | Platform::H5 | Platform::Server => dice.weighted(&[(0, 70), (1, 22), (2, 8)]),
            Platform::Android => dice.weighted(&[(3, 60), (4, 28), (5, 12)]),
            Platform::Ios => dice.weighted(&[(6, 72), (7, 28)]),
            Platform::Pc => dice.weighted(&[(8, 66), (9, 34)]),
            Platform::MiniProgram => 10,
        };
        let time_format = match platform {
            Platform::Android => TimeFormat::EpochMillis,
            Platform::Ios | Platform::Pc => TimeFormat::Shanghai,
            _ if library == 2 => TimeFormat::EpochMillis,
            _ => TimeFormat::Utc,
        };
        let on_the_web = matches!(platform, Platform::Web | Platform::H5);
        let skewed = dice.chance(config.skewed);
        let behind = dice.chance(0.6);
        let skew_ms = dice.spread(600_000, 3 * 86_400_000) * if behind { -1 } else { 1 };
        let mut made = Self {
            platform,
            app: app_of(platform),
            library,
            anonymous_id,
            has_account: dice.chance(0.45),
            user_id: device,
            install_source: None,
            otherwise: if platform == Platform::MiniProgram {
                ChannelGroup::MiniProgram
            } else {
                ChannelGroup::Direct
            },
            bot: on_the_web && dice.chance(config.bots),
            skew_ms: if skewed { skew_ms } else { 0 },
            time_format,
            // The oldest web library does not send `sent_at`. Without it a clock cannot be corrected, so none is
            // skewed.
            sends_sent_at: skewed || library != 2,
            has_index: library != 2 && library != 5,
            sends_session_id: library != 2 && library != 5,
            identity: Vec::with_capacity(768),
        };
        // Events that crawlers lose are not expected in `lost_events`.
        made.has_index &= !made.bot;
        made.describe(dice);
        made
    }

    fn describe(&mut self, dice: &mut Dice) {
        let mut out = std::mem::take(&mut self.identity);
        text(&mut out, ",\"app_id\":\"", self.app.as_str());
        text(&mut out, "\",\"platform\":\"", self.platform.as_str());
        text(&mut out, "\",\"anonymous_id\":\"", &self.anonymous_id);
        match self.platform {
            Platform::Ios | Platform::Android => {
                text(&mut out, "\",\"app_version\":\"", dice.weighted(&APP_VERSIONS))
            }
            Platform::Pc => text(&mut out, "\",\"app_version\":\"", dice.weighted(&RECORDER_VERSIONS)),
            _ => {}
        }
        text(&mut out, "\",\"locale\":\"", dice.weighted(&LOCALES));
        text(&mut out, "\",\"timezone\":\"", dice.weighted(&TIMEZONES));
        out.push(b'"');
        self.hardware(dice, &mut out);
        if dice.chance(0.5) {
            text(&mut out, ",\"ip\":\"", if dice.chance(0.1) { "2408:8207:" } else { "223.104." });
            if out.ends_with(b":") {
                text(&mut out, "", &format!("{:x}::{:x}\"", 1 + dice.below(65_000), 1 + dice.below(65_000)));
            } else {
                text(&mut out, "", &format!("{}.{}\"", dice.below(256), dice.below(256)));
            }
        }
        if dice.chance(0.6) {
            for (at, (experiment, variants)) in EXPERIMENTS.iter().enumerate() {
                text(&mut out, if at == 0 { ",\"experiments\":{\"" } else { ",\"" }, experiment);
                text(&mut out, "\":\"", dice.pick(variants));
                out.push(b'"');
            }
            out.push(b'}');
        }
        let (name, version) = LIBRARIES[usize::from(self.library)];
        text(&mut out, ",\"library\":{\"name\":\"", name);
        text(&mut out, "\",\"version\":\"", version);
        out.extend_from_slice(b"\"}");
        self.identity = out;
    }

    /// Writes the members `device` and `user_agent`.
    fn hardware(&mut self, dice: &mut Dice, out: &mut Vec<u8>) {
        let phone = |dice: &mut Dice, out: &mut Vec<u8>, brand: &Brand, os: &str, version: &str| {
            let model = dice.weighted(brand.models);
            device(out, brand.manufacturer, model, if model.contains("Pad") { "tablet" } else { "phone" });
            system(out, os, version, dice.pick(&[(1080, 2400), (1290, 2796), (1170, 2532), (1264, 2780)]));
            text(out, ",\"network_type\":\"", dice.weighted(&NETWORKS));
            out.extend_from_slice(b"\"}");
        };
        match self.platform {
            Platform::Android => {
                let brand = dice.weighted(&ANDROID_BRANDS);
                self.install_source = Some((brand.store, ChannelGroup::AppStore));
                let version = dice.weighted(&ANDROID_VERSIONS);
                phone(dice, out, brand, "Android", version);
            }
            Platform::Ios => {
                self.install_source = Some((APPLE.store, ChannelGroup::AppStore));
                let version = dice.weighted(&IOS_VERSIONS);
                phone(dice, out, &APPLE, "iOS", version);
            }
            Platform::MiniProgram => {
                let (brand, os) = dice.weighted(&[
                    ((&HUAWEI, "Android"), 3),
                    ((&XIAOMI, "Android"), 3),
                    ((&APPLE, "iOS"), 3),
                ]);
                phone(dice, out, brand, os, "");
            }
            Platform::Pc => {
                self.install_source = dice.weighted(&RECORDER_SOURCES);
                let brands: Vec<_> = PC_BRANDS.iter().map(|brand| ((brand.0, brand.1), brand.2)).collect();
                let (manufacturer, models) = dice.weighted(&brands);
                device(out, manufacturer, dice.weighted(models), "desktop");
                system(
                    out,
                    "Windows",
                    dice.weighted(&PC_OS),
                    dice.pick(&[(1920, 1080), (2560, 1440), (1366, 768)]),
                );
                out.push(b'}');
            }
            Platform::Web | Platform::H5 if self.bot => {
                text(out, ",\"user_agent\":\"", dice.pick(&BOT_AGENTS));
                out.push(b'"');
            }
            Platform::Web => {
                let (agent, os, version) = dice.weighted(&WEB_AGENTS);
                // Half of the sites send only the user agent.
                if dice.chance(0.5) {
                    device(out, "", "", "desktop");
                    system(out, os, version, dice.pick(&[(1920, 1080), (2560, 1440), (1440, 900)]));
                    out.push(b'}');
                }
                text(out, ",\"user_agent\":\"", agent);
                out.push(b'"');
            }
            Platform::H5 | Platform::Server => {
                let (browser, in_app) = dice.weighted(&MOBILE_BROWSERS);
                if in_app {
                    self.otherwise = ChannelGroup::InAppBrowser;
                }
                if dice.chance(0.2) {
                    let version = dice.weighted(&IOS_VERSIONS).replace('.', "_");
                    text(out, ",\"user_agent\":\"Mozilla/5.0 (iPhone; CPU iPhone OS ", &version);
                    out.extend_from_slice(b" like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) ");
                    let safari =
                        if in_app { "Mobile/15E148 " } else { "Version/17.4 Mobile/15E148 Safari/604.1" };
                    text(out, safari, if in_app { browser } else { "" });
                } else {
                    // The browser of a manufacturer runs on its phones.
                    let any = dice.weighted(&ANDROID_BRANDS);
                    let brand = if browser.starts_with("HuaweiBrowser/") { &HUAWEI } else { any };
                    text(
                        out,
                        ",\"user_agent\":\"Mozilla/5.0 (Linux; Android ",
                        dice.weighted(&ANDROID_VERSIONS),
                    );
                    text(out, "; ", dice.weighted(brand.models));
                    let chrome = dice.pick(&["116.0.0.0", "123.0.0.0"]);
                    text(out, ") AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/", chrome);
                    text(out, " Mobile Safari/537.36", if browser.is_empty() { "" } else { " " });
                    text(out, "", browser);
                }
                out.push(b'"');
            }
        }
    }
}

fn device(out: &mut Vec<u8>, manufacturer: &str, model: &str, kind: &str) {
    text(out, ",\"device\":{\"type\":\"", kind);
    if !model.is_empty() {
        text(out, "\",\"manufacturer\":\"", manufacturer);
        text(out, "\",\"model\":\"", model);
    }
    out.push(b'"');
}

fn system(out: &mut Vec<u8>, os: &str, version: &str, (width, height): (u32, u32)) {
    text(out, ",\"os_name\":\"", os);
    if !version.is_empty() {
        text(out, "\",\"os_version\":\"", version);
    }
    number(out, "\",\"screen_width\":", u64::from(width));
    number(out, ",\"screen_height\":", u64::from(height));
}
