//! Crawlers and browsers without a head, by the words they use for themselves.
//!
//! Plain HTTP libraries (okhttp, curl, python-requests, …) are no crawlers: they run no page's scripts, and apps and
//! servers send their own events with them.

/// Lower-case words of which one is enough. Those of one crawler stand beside the words that most crawlers share,
/// because not all of them keep to these.
const WORDS: &[&str] = &[
    // Shared by most.
    "spider",
    "crawler",
    "bot/",
    "bot;",
    "bot)",
    "bot-",
    "robot",
    // Search, previews and archives that call themselves otherwise.
    "adsbot",
    "apis-google",
    "archive.org_bot",
    "bingpreview",
    "chatgpt-user",
    "claude-user",
    "cohere-ai",
    "facebookexternalhit",
    "facebot",
    "google-extended",
    "google-inspectiontool",
    "google-read-aloud",
    "googleother",
    "heritrix",
    "httrack",
    "ia_archiver",
    "mediapartners-google",
    "meta-externalagent",
    "perplexity-user",
    "scrapy",
    "skypeuripreview",
    "sogou web",
    "yahoo! slurp",
    "yandex.com/bots",
    // Monitors.
    "chrome-lighthouse",
    "datadogsynthetics",
    "gtmetrix",
    "pingdom",
    "site24x7",
    "statuscake",
    // Browsers without a head, and those that programs drive.
    "cypress/",
    "headless",
    "htmlunit",
    "jsdom/",
    "phantomjs",
    "playwright",
    "puppeteer",
    "selenium",
    "slimerjs",
    "webdriver",
];

/// Whether the user agent, in lower case, is one of them.
pub(super) fn is_crawler(lower: &str) -> bool {
    WORDS.iter().any(|word| {
        // Phones of the maker CUBOT say so.
        lower.match_indices(word).any(|(at, _)| !lower[..at].ends_with("cu"))
    })
}
