//! Crawlers and headless browsers, by the words of their user agents.
//!
//! HTTP libraries (okhttp, curl, python-requests, …) do not count as crawlers: they run no scripts of pages, and apps and
//! servers send their events with them.

/// Words in lower case; one of them is enough. Most crawlers use a common word; the others are listed by their own.
const WORDS: &[&str] = &[
    // Common words.
    "spider",
    "crawler",
    "bot/",
    "bot;",
    "bot)",
    "bot-",
    "robot",
    // Search, previews and archives with words of their own.
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
    // Headless browsers and browser automation.
    "cypress/",
    "headless",
    "htmlunit",
    "jsdom/",
    "lightpanda",
    "phantomjs",
    "playwright",
    "puppeteer",
    "selenium",
    "slimerjs",
    "webdriver",
];

/// Whether a user agent, in lower case, is that of a crawler.
pub(super) fn is_crawler(lower: &str) -> bool {
    WORDS.iter().any(|word| {
        // Phones of the maker CUBOT contain "bot".
        lower.match_indices(word).any(|(at, _)| !lower[..at].ends_with("cu"))
    })
}
