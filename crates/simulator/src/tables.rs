//! Brands, models, versions and words, weighted by their shares in China.

use crate::names::ChannelGroup;

/// Models of one brand with their weights.
pub(crate) type Models = &'static [(&'static str, u32)];

pub(crate) struct Brand {
    pub(crate) manufacturer: &'static str,
    pub(crate) models: Models,
    pub(crate) store: &'static str,
}

const fn brand(manufacturer: &'static str, store: &'static str, models: Models) -> Brand {
    Brand { manufacturer, models, store }
}

pub(crate) const HUAWEI: Brand = brand(
    "HUAWEI",
    "com.huawei.appmarket",
    &[("Mate 60 Pro", 22), ("nova 12", 18), ("P60", 14), ("Pura 70", 14), ("Mate X5", 4), ("MatePad 11", 6)],
);
pub(crate) const XIAOMI: Brand = brand(
    "Xiaomi",
    "com.xiaomi.market",
    &[
        ("Redmi Note 13", 24),
        ("Redmi K70", 20),
        ("Xiaomi 14", 18),
        ("Xiaomi 13", 12),
        ("Redmi 12C", 9),
        ("Xiaomi Pad 6", 5),
    ],
);
pub(crate) const OPPO: Brand = brand(
    "OPPO",
    "com.oppo.market",
    &[("Reno11", 20), ("A2 Pro", 18), ("Find X7", 10), ("Reno10", 12), ("K11", 9), ("A58", 8)],
);
pub(crate) const VIVO: Brand = brand(
    "vivo",
    "com.bbk.appstore",
    &[("Y78", 18), ("S18", 16), ("X100", 14), ("iQOO Neo9", 12), ("Y36", 10), ("X90", 7)],
);
pub(crate) const HONOR: Brand = brand(
    "HONOR",
    "com.tencent.android.qqdownloader",
    &[("X50", 22), ("90", 16), ("Magic6", 12), ("Play 50", 8)],
);
pub(crate) const SAMSUNG: Brand =
    brand("samsung", "com.android.vending", &[("SM-S9210", 10), ("SM-S9180", 8), ("SM-F9460", 4)]);
pub(crate) const ONEPLUS: Brand =
    brand("OnePlus", "com.qihoo.appstore", &[("12", 8), ("Ace 3", 12), ("Ace 2 Pro", 6)]);
pub(crate) const REALME: Brand =
    brand("realme", "com.baidu.appsearch", &[("GT5", 6), ("V50", 8), ("12 Pro", 5)]);
pub(crate) const APPLE: Brand = brand(
    "Apple",
    "com.apple.AppStore",
    &[
        ("iPhone 13", 22),
        ("iPhone 14", 16),
        ("iPhone 15", 18),
        ("iPhone 15 Pro Max", 14),
        ("iPhone 12", 10),
        ("iPhone SE", 3),
        ("iPad Air", 7),
    ],
);

pub(crate) const ANDROID_BRANDS: [(&Brand, u32); 8] = [
    (&HUAWEI, 24),
    (&XIAOMI, 21),
    (&VIVO, 19),
    (&OPPO, 17),
    (&HONOR, 12),
    (&ONEPLUS, 3),
    (&REALME, 3),
    (&SAMSUNG, 2),
];

pub(crate) const ANDROID_VERSIONS: [(&str, u32); 6] =
    [("14", 30), ("13", 26), ("12", 18), ("11", 10), ("10", 9), ("9", 4)];
pub(crate) const IOS_VERSIONS: [(&str, u32); 5] =
    [("17.4.1", 34), ("17.3", 18), ("16.7.7", 16), ("18.1", 22), ("15.8.2", 6)];
pub(crate) const PC_BRANDS: [(&str, Models, u32); 6] = [
    ("LENOVO", &[("Legion Y7000", 10), ("XiaoXin Pro 16", 12), ("ThinkPad E14", 6)], 30),
    ("ASUS", &[("ROG Strix G16", 8), ("TUF Gaming A15", 9), ("VivoBook 15", 6)], 18),
    ("HP", &[("OMEN 16", 8), ("Pavilion 15", 7)], 15),
    ("Dell Inc.", &[("G15 5530", 6), ("XPS 13", 3)], 12),
    ("HUAWEI", &[("MateBook D 16", 8), ("MateBook 14s", 5)], 11),
    ("System manufacturer", &[("System Product Name", 10)], 14),
];
pub(crate) const PC_OS: [(&str, u32); 3] = [("10.0.22631", 52), ("10.0.19045", 40), ("6.1.7601", 8)];

/// Newest first. Most devices are up to date; a few never update.
pub(crate) const APP_VERSIONS: [(&str, u32); 8] = [
    ("8.12.0", 38),
    ("8.11.2", 22),
    ("8.11.0", 12),
    ("8.10.1", 9),
    ("8.9.0", 7),
    ("8.4.3", 5),
    ("7.20.1", 4),
    ("6.9.9", 3),
];
pub(crate) const RECORDER_VERSIONS: [(&str, u32); 5] =
    [("5.3.0.1180", 44), ("5.2.8.1102", 26), ("5.1.0.990", 14), ("4.9.6.871", 10), ("4.2.0.640", 6)];

/// Install sources of the recorder: bundled with hardware or software, or exchanged with other vendors.
pub(crate) const RECORDER_SOURCES: [(Option<(&str, ChannelGroup)>, u32); 6] = [
    (None, 50),
    (Some(("bundle-driver-kit", ChannelGroup::Bundle)), 14),
    (Some(("bundle-laptop-oem", ChannelGroup::Bundle)), 10),
    (Some(("exchange-player", ChannelGroup::Exchange)), 9),
    (Some(("exchange-zip", ChannelGroup::Exchange)), 5),
    (Some(("com.qihoo.appstore", ChannelGroup::AppStore)), 12),
];

/// (user agent, os_name, os_version) of browsers on desktops.
pub(crate) const WEB_AGENTS: [((&str, &str, &str), u32); 5] = [
    (
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
            "Windows",
            "10",
        ),
        48,
    ),
    (
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0",
            "Windows",
            "10",
        ),
        26,
    ),
    (
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
            "macOS",
            "10.15.7",
        ),
        12,
    ),
    (
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0", "Windows", "10"),
        6,
    ),
    (
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36",
            "Linux",
            "",
        ),
        2,
    ),
];

/// Ends of user agents of browsers on phones, and whether the browser is built into another app.
pub(crate) const MOBILE_BROWSERS: [((&str, bool), u32); 11] = [
    (("", false), 46),
    (
        (
            "MicroMessenger/8.0.47.2560(0x28002F30) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN ABI/arm64",
            true,
        ),
        26,
    ),
    (("V1_AND_SQ_8.9.80_4614_YYB_D QQ/8.9.80.12440 NetType/WIFI WebP/0.4.1 Pixel/1080", true), 7),
    (("Weibo (device__weibo__13.10.1__android__android13)", true), 5),
    (("aweme_280100 JsSdk/1.0 NetType/WIFI Channel/douyin ByteLocale/zh-CN", true), 6),
    (("BiliApp/7580300 mobi_app/android", true), 4),
    (("UCBS/3.22.2.65 NebulaSDK/1.8.100112 AlipayClient/10.5.66.8000 Language/zh-Hans", true), 3),
    (("T7/13.35 SP-engine/2.72.0 baiduboxapp/13.35.0.11 (Baidu; P1 13)", true), 4),
    (("XiaoMi/MiuiBrowser/17.8.230", false), 3),
    (("HuaweiBrowser/15.0.4.312", false), 4),
    (("Quark/6.5.5.351", false), 3),
];

/// User agents of crawlers and headless browsers.
pub(crate) const BOT_AGENTS: [&str; 5] = [
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/124.0.0.0 Safari/537.36",
];

pub(crate) const NETWORKS: [(&str, u32); 4] = [("wifi", 62), ("5g", 22), ("4g", 14), ("3g", 1)];
pub(crate) const LOCALES: [(&str, u32); 5] =
    [("zh-CN", 90), ("zh-TW", 3), ("zh-HK", 2), ("en-US", 4), ("ja-JP", 1)];
pub(crate) const TIMEZONES: [(&str, u32); 4] =
    [("Asia/Shanghai", 94), ("Asia/Hong_Kong", 2), ("Asia/Taipei", 2), ("America/Los_Angeles", 2)];

pub(crate) const CATEGORIES: [(&str, u32); 9] = [
    ("game", 34),
    ("life", 16),
    ("anime", 12),
    ("music", 10),
    ("tech", 9),
    ("food", 7),
    ("sports", 5),
    ("education", 5),
    ("film", 2),
];
pub(crate) const TAGS: [&str; 20] = [
    "王者荣耀",
    "原神",
    "英雄联盟",
    "我的世界",
    "和平精英",
    "搞笑",
    "翻唱",
    "开箱",
    "教程",
    "vlog",
    "美食",
    "旅行",
    "剪辑",
    "录屏",
    "直播回放",
    "萌宠",
    "健身",
    "数码",
    "手办",
    "鬼畜",
];
pub(crate) const WORDS: [&str; 12] = [
    "原神 攻略",
    "周杰伦 翻唱",
    "录屏 教程",
    "C++ 入门",
    "红烧肉",
    "\\\"百年孤独\\\" 解说",
    "\\u6e38\\u620f 合集",
    "lol s14",
    "猫 🐱",
    "健身 10 分钟",
    "iPhone 15 开箱",
    "会员 兑换",
];
pub(crate) const SCREENS: [&str; 8] =
    ["home", "follow_feed", "category", "my_profile", "settings", "messages", "live_hall", "editor"];
pub(crate) const PAGES: [(&str, &str, &str); 6] = [
    ("home", "", "首页"),
    ("list", "list/game", "游戏频道"),
    ("list", "list/new", "最新视频"),
    ("play", "v/", "播放页"),
    ("user", "u/", "个人空间"),
    ("upload", "upload", "上传视频"),
];
pub(crate) const EXPERIMENTS: [(&str, &[&str]); 4] = [
    ("home_feed_rank", &["control", "model_b"]),
    ("vip_landing_copy", &["control", "short", "long"]),
    ("player_autoplay", &["off", "on"]),
    ("upload_wizard", &["control", "three_steps"]),
];
