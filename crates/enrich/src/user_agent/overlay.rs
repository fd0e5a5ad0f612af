//! Our own lists of apps with built-in browsers, of browsers used in China, and of device makers. They are written from
//! what the products send.

/// An app or browser, and the words that its user agents contain.
pub(super) struct Product {
    /// The value of `browser`.
    pub(super) browser: &'static str,
    /// The value of `in_app_browser`; '' for a browser of its own.
    pub(super) app: &'static str,
    words: &'static [&'static str],
}

const fn app(app: &'static str, browser: &'static str, words: &'static [&'static str]) -> Product {
    Product { browser, app, words }
}

const fn browser(browser: &'static str, words: &'static [&'static str]) -> Product {
    Product { browser, app: "", words }
}

/// The values of `in_app_browser`.
pub(crate) const IN_APP_BROWSERS: &[&str] = &[
    "alipay",
    "baidu",
    "baidu_netdisk",
    "bilibili",
    "dingtalk",
    "douban",
    "douyin",
    "facebook",
    "feishu",
    "google",
    "instagram",
    "jd",
    "kakaotalk",
    "kuaishou",
    "line",
    "linkedin",
    "messenger",
    "naver",
    "netease_music",
    "netease_news",
    "pinduoduo",
    "pinterest",
    "qq",
    "qq_music",
    "quora",
    "reddit",
    "snapchat",
    "taobao",
    "tencent_news",
    "tencent_video",
    "tieba",
    "tiktok",
    "tmall",
    "toutiao",
    "twitter",
    "wechat",
    "wecom",
    "weibo",
    "xiaohongshu",
    "xigua",
    "zhihu",
];

/// In the order in which they are tried: apps before the browser engines they are built on, narrow words before wide
/// ones.
const PRODUCTS: &[Product] = &[
    app("wecom", "WeCom", &["wxwork/"]),
    app("wechat", "WeChat", &["MicroMessenger/"]),
    app("weibo", "Weibo", &["__weibo__", "Weibo ("]),
    app("qq_music", "QQ Music", &["QQMusic/", "QQMUSIC/"]),
    app("tencent_video", "Tencent Video", &["QQLiveBrowser/", "QQLiveHDBrowser/"]),
    app("tencent_news", "Tencent News", &["qqnews/"]),
    app("qq", "QQ", &[" QQ/", "Qzone/", "V1_AND_SQ_", "V1_IPH_SQ_"]),
    app("bilibili", "Bilibili", &["BiliApp/", "bili-universal/", "bili-inter/"]),
    app("tiktok", "TikTok", &["musical_ly", "trill_", "BytedanceWebview/d8a21c6"]),
    app("douyin", "Douyin", &["aweme_", "aweme/", "AwemeLite"]),
    app("xigua", "Xigua", &["VideoArticle/"]),
    app("toutiao", "Toutiao", &["NewsArticle/", "NewsLite/", "ToutiaoMicroApp"]),
    app("kuaishou", "Kuaishou", &["Kwai/", "ksNebula/", "Kwai_Pro/"]),
    app("dingtalk", "DingTalk", &["DingTalk/", "AliApp(DingTalk"]),
    app("taobao", "Taobao", &["AliApp(TB/"]),
    app("tmall", "Tmall", &["AliApp(TM/"]),
    app("alipay", "Alipay", &["AlipayClient/", "AliApp(AP/"]),
    app("baidu_netdisk", "Baidu Netdisk", &["netdisk;"]),
    app("tieba", "Tieba", &["tieba/"]),
    app("baidu", "Baidu", &["baiduboxapp/"]),
    app("xiaohongshu", "Xiaohongshu", &["xiaohongshu", "XiaoHongShu", "xhsdiscover", "discover/"]),
    app("zhihu", "Zhihu", &["ZhihuHybrid", "com.zhihu.android", "osee2unifiedRelease"]),
    app("douban", "Douban", &["com.douban.frodo"]),
    app("jd", "JD", &["jdapp;"]),
    app("pinduoduo", "Pinduoduo", &["phh_android_version/", "pinduoduo", "AppleWebKit phh_ios"]),
    app("feishu", "Feishu", &["Lark/", "Feishu/"]),
    app("netease_music", "NetEase Cloud Music", &["NeteaseMusic/", "neteasemusic"]),
    app("netease_news", "NetEase News", &["NewsApp/"]),
    app("messenger", "Messenger", &["FBAN/Messenger", "Orca-Android"]),
    app("instagram", "Instagram", &["Instagram "]),
    app("facebook", "Facebook", &["FBAN/", "FBAV/", "FB_IAB/"]),
    app("twitter", "Twitter", &["Twitter for ", "TwitterAndroid"]),
    app("line", "LINE", &[" Line/"]),
    app("kakaotalk", "KakaoTalk", &["KAKAOTALK"]),
    app("naver", "Naver", &["NAVER("]),
    app("snapchat", "Snapchat", &["Snapchat/", "Snapchat "]),
    app("linkedin", "LinkedIn", &["LinkedInApp", "[LinkedInApp]"]),
    app("pinterest", "Pinterest", &["[Pinterest/", "Pinterest for "]),
    app("reddit", "Reddit", &["Reddit/"]),
    app("quora", "Quora", &["Quora "]),
    app("google", "Google App", &[" GSA/"]),
    browser("Quark", &["Quark/", "QuarkPC/"]),
    browser("Huawei Browser", &["HuaweiBrowser/", "HBPC/"]),
    browser("Honor Browser", &["HonorBrowser/"]),
    browser("MIUI Browser", &["MiuiBrowser/"]),
    browser("HeyTap Browser", &["HeyTapBrowser/", "OppoBrowser/"]),
    browser("Vivo Browser", &["VivoBrowser/"]),
    browser("Meizu Browser", &["MZBrowser/"]),
    browser("Lenovo Browser", &["SLBrowser/", "LenovoBrowser/"]),
    browser("UC Browser", &["UCBrowser/", "UBrowser/", "UCWEB/"]),
    browser("QQ Browser", &["MQQBrowser/", "QQBrowser/", "QQBrowserLite/"]),
    browser("360 Browser", &["QIHU 360", "360SE", "360EE", "QihooBrowser/", "360browser"]),
    browser("Sogou Browser", &["SogouMobileBrowser/", "SogouMSE", "MetaSr", "SE 2.X"]),
    browser("Baidu Browser", &["baidubrowser/", "BIDUBrowser/", "bdbrowser"]),
    browser("Liebao", &["LBBROWSER", "LieBaoFast/"]),
    browser("2345 Browser", &["2345Explorer/", "Mb2345Browser/", "2345chrome"]),
    browser("Maxthon", &["Maxthon", "MxBrowser/"]),
    browser("Doubao", &["Doubao/"]),
    browser("Samsung Internet", &["SamsungBrowser/"]),
];

/// The product whose words the user agent contains.
pub(super) fn product(text: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.words.iter().any(|word| text.contains(word)))
}

/// Makers as uap-core spells them, and as their devices do. Apps send the spelling of the device, so both become that.
const BRANDS: &[(&str, &str)] = &[
    ("Asus", "asus"),
    ("Honor", "HONOR"),
    ("Huawei", "HUAWEI"),
    ("Lenovo", "LENOVO"),
    ("Meizu", "Meizu"),
    ("Oppo", "OPPO"),
    ("Realme", "realme"),
    ("Samsung", "samsung"),
    ("SonyEricsson", "Sony"),
    ("Vivo", "vivo"),
    ("XiaoMi", "Xiaomi"),
];

/// The maker as its devices spell it.
pub(super) fn brand(name: &str) -> &str {
    BRANDS.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name)).map_or(name, |(_, own)| own)
}

/// Beginnings of model and build names by which the maker is known; a `0` stands for any digit.
const MODELS: &[(&str, &str)] = &[
    ("HONOR", "HONOR"),
    ("HUAWEI", "HUAWEI"),
    ("Huawei", "HUAWEI"),
    ("MI ", "Xiaomi"),
    ("Mi ", "Xiaomi"),
    ("Xiaomi", "Xiaomi"),
    ("Redmi", "Xiaomi"),
    ("POCO", "Xiaomi"),
    ("M0000", "Xiaomi"),
    ("0000000", "Xiaomi"),
    ("0000DRA", "Xiaomi"),
    ("OPPO", "OPPO"),
    ("CPH0000", "OPPO"),
    ("realme", "realme"),
    ("RMX0000", "realme"),
    ("SM-", "samsung"),
    ("vivo", "vivo"),
    ("iQOO", "vivo"),
    ("V0000", "vivo"),
    ("ONEPLUS", "OnePlus"),
    ("Pixel", "Google"),
    ("CUBOT", "CUBOT"),
];

/// The maker of a model, by the beginning of its name; '' when unknown.
pub(super) fn brand_of_model(model: &str) -> &'static str {
    let begins = |start: &str| {
        model.len() >= start.len()
            && start.bytes().zip(model.bytes()).all(|(want, has)| match want {
                b'0' => has.is_ascii_digit(),
                _ => want == has,
            })
    };
    MODELS.iter().find(|(start, _)| begins(start)).map_or("", |(_, brand)| brand)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apps_of_the_products_are_the_published_names() {
        for product in PRODUCTS.iter().filter(|product| !product.app.is_empty()) {
            assert!(IN_APP_BROWSERS.contains(&product.app), "{}", product.app);
        }
        assert!(IN_APP_BROWSERS.is_sorted());
        assert!(IN_APP_BROWSERS.iter().all(|app| PRODUCTS.iter().any(|product| product.app == *app)));
    }
}
