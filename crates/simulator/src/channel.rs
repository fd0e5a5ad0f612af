//! Evidence of where visitors come from, each piece with the one channel group it maps to.
//!
//! Only unambiguous evidence is listed. What an event shows is decided here together with the group it speaks for,
//! by the contract's order: campaign, click ID, install source, referrer. What becomes of a session that shows none
//! follows from what its device did before.

use crate::dice::Dice;
use crate::names::Group;

/// (source, medium, group) of an explicit campaign.
const CAMPAIGNS: [((&str, &str, Group), u32); 25] = [
    (("baidu", "cpc", Group::PaidSearch), 14),
    (("google", "cpc", Group::PaidSearch), 4),
    (("sogou", "cpc", Group::PaidSearch), 2),
    (("bing", "ppc", Group::PaidSearch), 1),
    (("weibo", "cpc", Group::PaidSocial), 6),
    (("xiaohongshu", "cpc", Group::PaidSocial), 5),
    (("zhihu", "cpc", Group::PaidSocial), 3),
    (("bilibili", "cpc", Group::PaidVideo), 5),
    (("douyin", "cpc", Group::PaidVideo), 7),
    (("kuaishou", "cpc", Group::PaidVideo), 4),
    (("toutiao", "feed_ads", Group::FeedAds), 5),
    (("tencent", "feed", Group::FeedAds), 4),
    (("baidu", "cpm", Group::FeedAds), 2),
    (("sina", "display", Group::Display), 2),
    (("netease", "banner", Group::Display), 2),
    (("newsletter", "email", Group::Email), 3),
    (("union", "affiliate", Group::Affiliate), 3),
    (("weekly", "sms", Group::Sms), 2),
    (("jpush", "push", Group::Push), 6),
    (("weibo", "social", Group::OrganicSocial), 4),
    (("wechat", "social", Group::OrganicSocial), 5),
    (("baidu", "organic", Group::OrganicSearch), 2),
    (("bilibili", "video", Group::OrganicVideo), 4),
    (("subway", "poster", Group::Other), 1),
    (("partner", "offline", Group::Other), 1),
];

/// (type and name of the query parameter, group) of a click ID.
const CLICKS: [((&str, Group), u32); 6] = [
    (("bd_vid", Group::PaidSearch), 10),
    (("gclid", Group::PaidSearch), 4),
    (("msclkid", Group::PaidSearch), 1),
    (("qz_gdt", Group::FeedAds), 8),
    (("fbclid", Group::PaidSocial), 2),
    (("ttclid", Group::PaidSocial), 2),
];

/// Referrers of a landing, complete or to be followed by a number.
const REFERRERS: [((&str, Group), u32); 27] = [
    (("https://www.baidu.com/link?url=k", Group::OrganicSearch), 22),
    (("https://m.baidu.com/s?word=v", Group::OrganicSearch), 12),
    (("https://www.google.com/", Group::OrganicSearch), 5),
    (("https://www.sogou.com/web?query=", Group::OrganicSearch), 4),
    (("https://www.so.com/s?q=", Group::OrganicSearch), 4),
    (("https://cn.bing.com/search?q=", Group::OrganicSearch), 5),
    (("https://weibo.com/u/", Group::OrganicSocial), 8),
    (("https://m.weibo.cn/detail/", Group::OrganicSocial), 4),
    (("https://mp.weixin.qq.com/s/a", Group::OrganicSocial), 9),
    (("https://user.qzone.qq.com/", Group::OrganicSocial), 3),
    (("https://www.zhihu.com/question/", Group::OrganicSocial), 6),
    (("https://www.xiaohongshu.com/explore/", Group::OrganicSocial), 4),
    (("https://www.bilibili.com/video/BV", Group::OrganicVideo), 9),
    (("https://www.douyin.com/video/", Group::OrganicVideo), 5),
    (("https://www.kuaishou.com/short-video/", Group::OrganicVideo), 3),
    (("https://www.youtube.com/watch?v=", Group::OrganicVideo), 1),
    (("https://chatgpt.com/c/", Group::AiAssistant), 1),
    (("https://kimi.moonshot.cn/chat/", Group::AiAssistant), 1),
    (("https://www.doubao.com/chat/", Group::AiAssistant), 2),
    (("https://blog.example.org/post/", Group::Referral), 2),
    (("https://news.example.net/a/", Group::Referral), 2),
    (("https://forum.example.com/thread/", Group::Referral), 2),
    (("https://www.gamersky.com/news/", Group::Referral), 1),
    (("https://tieba.example.org/p/", Group::Referral), 1),
    (("https://www.52pojie.cn/thread-", Group::Referral), 1),
    (("https://www.example.tv/", Group::Internal), 2),
    (("https://m.example.tv/", Group::Internal), 2),
];

/// What one landing or start shows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evidence {
    pub(crate) campaign: Option<(&'static str, &'static str, Group)>,
    pub(crate) click: Option<(&'static str, Group)>,
    pub(crate) referrer: Option<(&'static str, Group)>,
}

impl Evidence {
    /// Of a visit to the site. Campaigns and clicks often come with a referrer, which must not win.
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

    /// A campaign and nothing else.
    pub(crate) fn of_campaign(dice: &mut Dice) -> Self {
        Self { campaign: Some(dice.weighted(&CAMPAIGNS)), ..Self::default() }
    }

    /// Of the start of an app: a deep link, or nothing.
    pub(crate) fn of_start(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..10 => Self { campaign: Some(dice.weighted(&CAMPAIGNS)), ..Self::default() },
            10..14 => Self { click: Some(dice.weighted(&CLICKS)), ..Self::default() },
            _ => Self::default(),
        }
    }

    /// The group this evidence speaks for, if there is any.
    pub(crate) fn group(&self, install_source: Option<Group>) -> Option<Group> {
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
        let referrer = Some(("https://www.google.com/", Group::OrganicSearch));
        let click = Some(("qz_gdt", Group::FeedAds));
        let campaign = Some(("newsletter", "email", Group::Email));
        let store = Some(Group::AppStore);
        let all = Evidence { campaign, click, referrer };
        let clicked = Evidence { click, referrer, ..Evidence::default() };
        let referred = Evidence { referrer, ..Evidence::default() };
        assert_eq!(all.group(store), Some(Group::Email));
        assert_eq!(clicked.group(store), Some(Group::FeedAds));
        assert_eq!(referred.group(store), Some(Group::AppStore));
        assert_eq!(referred.group(None), Some(Group::OrganicSearch));
        assert_eq!(Evidence::default().group(None), None);
    }

    #[test]
    fn nearly_every_group_is_shown_by_landings() {
        let mut dice = Dice::new(1);
        let mut groups = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            groups.extend(Evidence::of_landing(&mut dice).group(None));
        }
        let missing: Vec<_> = Group::ALL.iter().filter(|group| !groups.contains(group)).collect();
        use Group::{AppStore, Bundle, Direct, Exchange, InAppBrowser, MiniProgram};
        assert_eq!(missing, [&Direct, &AppStore, &MiniProgram, &InAppBrowser, &Bundle, &Exchange]);
    }
}
