//! Evidence of the channel a visitor comes from, each with the one channel group that it maps to.
//!
//! Only unambiguous evidence is listed. The group of an event's evidence follows the order of the contract:
//! campaign, click ID, install source, referrer. The group of a session without evidence depends on the history of
//! its device.

use crate::dice::Dice;
use crate::names::ChannelGroup;

/// (source, medium, group) of an explicit campaign.
const CAMPAIGNS: [((&str, &str, ChannelGroup), u32); 25] = [
    (("baidu", "cpc", ChannelGroup::PaidSearch), 14),
    (("google", "cpc", ChannelGroup::PaidSearch), 4),
    (("sogou", "cpc", ChannelGroup::PaidSearch), 2),
    (("bing", "ppc", ChannelGroup::PaidSearch), 1),
    (("weibo", "cpc", ChannelGroup::PaidSocial), 6),
    (("xiaohongshu", "cpc", ChannelGroup::PaidSocial), 5),
    (("zhihu", "cpc", ChannelGroup::PaidSocial), 3),
    (("bilibili", "cpc", ChannelGroup::PaidVideo), 5),
    (("douyin", "cpc", ChannelGroup::PaidVideo), 7),
    (("kuaishou", "cpc", ChannelGroup::PaidVideo), 4),
    (("toutiao", "feed_ads", ChannelGroup::FeedAds), 5),
    (("tencent", "feed", ChannelGroup::FeedAds), 4),
    (("baidu", "cpm", ChannelGroup::FeedAds), 2),
    (("sina", "display", ChannelGroup::Display), 2),
    (("netease", "banner", ChannelGroup::Display), 2),
    (("newsletter", "email", ChannelGroup::Email), 3),
    (("union", "affiliate", ChannelGroup::Affiliate), 3),
    (("weekly", "sms", ChannelGroup::Sms), 2),
    (("jpush", "push", ChannelGroup::Push), 6),
    (("weibo", "social", ChannelGroup::OrganicSocial), 4),
    (("wechat", "social", ChannelGroup::OrganicSocial), 5),
    (("baidu", "organic", ChannelGroup::OrganicSearch), 2),
    (("bilibili", "video", ChannelGroup::OrganicVideo), 4),
    (("subway", "poster", ChannelGroup::Other), 1),
    (("partner", "offline", ChannelGroup::Other), 1),
];

/// (type and name of the query parameter, group) of a click ID.
const CLICKS: [((&str, ChannelGroup), u32); 6] = [
    (("bd_vid", ChannelGroup::PaidSearch), 10),
    (("gclid", ChannelGroup::PaidSearch), 4),
    (("msclkid", ChannelGroup::PaidSearch), 1),
    (("qz_gdt", ChannelGroup::FeedAds), 8),
    (("fbclid", ChannelGroup::PaidSocial), 2),
    (("ttclid", ChannelGroup::PaidSocial), 2),
];

/// Referrers of a landing page. A number is appended to most of them.
const REFERRERS: [((&str, ChannelGroup), u32); 27] = [
    (("https://www.baidu.com/link?url=k", ChannelGroup::OrganicSearch), 22),
    (("https://m.baidu.com/s?word=v", ChannelGroup::OrganicSearch), 12),
    (("https://www.google.com/", ChannelGroup::OrganicSearch), 5),
    (("https://www.sogou.com/web?query=", ChannelGroup::OrganicSearch), 4),
    (("https://www.so.com/s?q=", ChannelGroup::OrganicSearch), 4),
    (("https://cn.bing.com/search?q=", ChannelGroup::OrganicSearch), 5),
    (("https://weibo.com/u/", ChannelGroup::OrganicSocial), 8),
    (("https://m.weibo.cn/detail/", ChannelGroup::OrganicSocial), 4),
    (("https://mp.weixin.qq.com/s/a", ChannelGroup::OrganicSocial), 9),
    (("https://user.qzone.qq.com/", ChannelGroup::OrganicSocial), 3),
    (("https://www.zhihu.com/question/", ChannelGroup::OrganicSocial), 6),
    (("https://www.xiaohongshu.com/explore/", ChannelGroup::OrganicSocial), 4),
    (("https://www.bilibili.com/video/BV", ChannelGroup::OrganicVideo), 9),
    (("https://www.douyin.com/video/", ChannelGroup::OrganicVideo), 5),
    (("https://www.kuaishou.com/short-video/", ChannelGroup::OrganicVideo), 3),
    (("https://www.youtube.com/watch?v=", ChannelGroup::OrganicVideo), 1),
    (("https://chatgpt.com/c/", ChannelGroup::AiAssistant), 1),
    (("https://kimi.moonshot.cn/chat/", ChannelGroup::AiAssistant), 1),
    (("https://www.doubao.com/chat/", ChannelGroup::AiAssistant), 2),
    (("https://blog.example.org/post/", ChannelGroup::Referral), 2),
    (("https://news.example.net/a/", ChannelGroup::Referral), 2),
    (("https://forum.example.com/thread/", ChannelGroup::Referral), 2),
    (("https://www.gamersky.com/news/", ChannelGroup::Referral), 1),
    (("https://tieba.example.org/p/", ChannelGroup::Referral), 1),
    (("https://www.52pojie.cn/thread-", ChannelGroup::Referral), 1),
    (("https://www.example.tv/", ChannelGroup::Internal), 2),
    (("https://m.example.tv/", ChannelGroup::Internal), 2),
];

/// The evidence of one landing page or app start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evidence {
    pub(crate) campaign: Option<(&'static str, &'static str, ChannelGroup)>,
    pub(crate) click: Option<(&'static str, ChannelGroup)>,
    pub(crate) referrer: Option<(&'static str, ChannelGroup)>,
}

impl Evidence {
    /// Evidence of a visit to the site. Campaigns and clicks often come with a referrer, which has a lower priority.
    pub(crate) fn of_landing(dice: &mut Dice) -> Self {
        let referrer = Some(dice.weighted(&REFERRERS));
        match dice.below(100) {
            0..30 => Self::default(),
            30..70 => Self { referrer, ..Self::default() },
            70..80 => Self { campaign: Some(dice.weighted(&CAMPAIGNS)), ..Self::default() },
            80..88 => Self { campaign: Some(dice.weighted(&CAMPAIGNS)), referrer, ..Self::default() },
            88..91 => Self {
                campaign: Some(dice.weighted(&CAMPAIGNS)),
                click: Some(dice.weighted(&CLICKS)),
                referrer,
            },
            91..95 => Self { click: Some(dice.weighted(&CLICKS)), referrer, ..Self::default() },
            _ => Self { click: Some(dice.weighted(&CLICKS)), ..Self::default() },
        }
    }

    /// Evidence of a campaign only.
    pub(crate) fn of_campaign(dice: &mut Dice) -> Self {
        Self { campaign: Some(dice.weighted(&CAMPAIGNS)), ..Self::default() }
    }

    /// Evidence of the start of an app: a deep link, or none.
    pub(crate) fn of_start(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..10 => Self { campaign: Some(dice.weighted(&CAMPAIGNS)), ..Self::default() },
            10..14 => Self { click: Some(dice.weighted(&CLICKS)), ..Self::default() },
            _ => Self::default(),
        }
    }

    /// The channel group of this evidence. None without evidence.
    pub(crate) fn group(&self, install_source: Option<ChannelGroup>) -> Option<ChannelGroup> {
        let campaign = self.campaign.map(|(_, _, group)| group);
        let click = self.click.map(|(_, group)| group);
        let referrer = self.referrer.map(|(_, group)| group);
        campaign.or(click).or(install_source).or(referrer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_counts_in_the_order_of_the_contract() {
        let referrer = Some(("https://www.google.com/", ChannelGroup::OrganicSearch));
        let click = Some(("qz_gdt", ChannelGroup::FeedAds));
        let campaign = Some(("newsletter", "email", ChannelGroup::Email));
        let store = Some(ChannelGroup::AppStore);
        let all = Evidence { campaign, click, referrer };
        let clicked = Evidence { click, referrer, ..Evidence::default() };
        let referred = Evidence { referrer, ..Evidence::default() };
        assert_eq!(all.group(store), Some(ChannelGroup::Email));
        assert_eq!(clicked.group(store), Some(ChannelGroup::FeedAds));
        assert_eq!(referred.group(store), Some(ChannelGroup::AppStore));
        assert_eq!(referred.group(None), Some(ChannelGroup::OrganicSearch));
        assert_eq!(Evidence::default().group(None), None);
    }

    #[test]
    fn landing_pages_show_evidence_of_nearly_every_group() {
        let mut dice = Dice::new(1);
        let mut groups = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            groups.extend(Evidence::of_landing(&mut dice).group(None));
        }
        let missing: Vec<_> = ChannelGroup::ALL.iter().filter(|group| !groups.contains(group)).collect();
        use ChannelGroup::{AppStore, Bundle, Direct, Exchange, InAppBrowser, MiniProgram};
        assert_eq!(missing, [&Direct, &AppStore, &MiniProgram, &InAppBrowser, &Bundle, &Exchange]);
    }
}
