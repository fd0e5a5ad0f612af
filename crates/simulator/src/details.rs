//! The objects that depend on the name of the event: content, playback, upload, commerce, creator, properties.

use crate::json_text::{number, text};
use crate::names::{EventName, Platform};
use crate::session::{ClientSession, Play, UPLOAD_STEPS};
use crate::tables::{CATEGORIES, TAGS, WORDS};
use crate::world::World;

const GIFTS: [(&str, u64); 5] =
    [("flower", 10), ("rocket", 50_000), ("heart", 100), ("crown", 6_600), ("cola", 500)];
const VIP_PRODUCTS: [((&str, u64), u32); 4] = [
    (("vip-month", 1_500), 60),
    (("vip-quarter", 4_000), 18),
    (("vip-year", 14_800), 17),
    (("vip-trial", 100), 5),
];

impl World {
    pub(crate) fn details(
        &mut self,
        session: &mut ClientSession,
        event: EventName,
        moment: i64,
        out: &mut Vec<u8>,
    ) {
        use EventName::*;
        match event {
            ContentView => {
                let video = self.dice.zipf_rank(self.videos.len() as u32);
                session.video = Some(video);
                self.content(video, out);
            }
            PlaybackStarted => {
                let video = self.video(session);
                let duration_ms = self.videos[video as usize].duration_ms;
                let id = self.dice.bits();
                session.play = Some(Play { id, position_ms: 0, played_ms: 0, duration_ms });
                self.content(video, out);
                self.playback(session, "playing", out);
            }
            PlaybackPing => self.watched(session, "playing", out),
            PlaybackPaused => self.watched(session, "paused", out),
            PlaybackResumed => self.watched(session, "resumed", out),
            PlaybackEnded => self.watched(session, "ended", out),
            PlaybackError => self.watched(session, "error", out),
            Share | Comment | DanmakuSent => {
                let video = self.video(session);
                self.content(video, out);
                number(out, ",\"properties\":{\"length\":", u64::from(self.dice.below(200)));
                text(out, ",\"to\":\"", self.dice.pick(&["wechat", "weibo", "qq", "link"]));
                out.extend_from_slice(b"\"}");
            }
            UploadStep | ContentPublished => self.uploading(session, event, moment, out),
            VipPageViewed => {
                text(out, ",\"commerce\":{\"entry_point\":\"", session.entry_point);
                out.extend_from_slice(b"\"}");
            }
            VipOpened => {
                let (product, cents) = self.dice.weighted(&VIP_PRODUCTS);
                self.order(session, out);
                text(out, ",\"product_id\":\"", product);
                let refund = self.dice.chance(0.03);
                text(
                    out,
                    "\",\"product_type\":\"vip\",\"quantity\":1,\"revenue_minor\":",
                    if refund { "-" } else { "" },
                );
                number(out, "", cents);
                text(out, ",\"currency\":\"CNY\",\"entry_point\":\"", session.entry_point);
                out.extend_from_slice(b"\"}");
            }
            GiftSent => {
                let (gift, cents) = self.dice.pick(&GIFTS);
                let quantity = self.dice.spread(1, 100) as u64;
                let video = self.video(session);
                self.order(session, out);
                text(out, ",\"product_type\":\"gift\",\"gift_id\":\"", gift);
                number(out, "\",\"quantity\":", quantity);
                number(out, ",\"revenue_minor\":", cents * quantity);
                number(out, ",\"currency\":\"CNY\",\"receiver_id\":\"u", u64::from(self.dice.below(200_000)));
                out.extend_from_slice(b"\"}");
                self.content(video, out);
            }
            TagUsed => {
                let video = self.video(session);
                self.content(video, out);
                text(out, ",\"properties\":{\"tag\":\"", self.videos[video as usize].tag);
                out.extend_from_slice(b"\"}");
            }
            CreatorLevelChanged => {
                let level = u64::from(1 + self.dice.below(5));
                number(out, ",\"creator\":{\"id\":\"u", u64::from(session.device.user_id));
                number(out, "\",\"previous_level\":\"lv", level);
                number(out, "\",\"level\":\"lv", level + 1);
                out.extend_from_slice(b"\"}");
            }
            Search => {
                text(out, ",\"properties\":{\"query\":\"", self.dice.pick(&WORDS));
                number(out, "\",\"results\":", u64::from(self.dice.below(500)));
                out.extend_from_slice(b",\"filters\":{\"order\":\"new\",\"duration\":[0,600]}}");
            }
            AdShown | AdClicked => {
                text(
                    out,
                    ",\"properties\":{\"slot\":\"",
                    self.dice.pick(&["feed_3", "pre_roll", "banner_top"]),
                );
                number(out, "\",\"bid\":0.", 1 + u64::from(self.dice.below(998)));
                out.push(b'}');
            }
            ImageProcessed | ContentCaptured => {
                number(
                    out,
                    ",\"properties\":{\"width\":1920,\"height\":1080,\"took_ms\":",
                    u64::from(self.dice.below(9_000)),
                );
                text(out, ",\"codec\":\"", self.dice.pick(&["h264", "hevc", "av1"]));
                out.extend_from_slice(b"\",\"gpu\":true,\"error\":null}");
                if event == ContentCaptured {
                    number(out, ",\"content\":{\"id\":\"c", self.dice.bits());
                    out.extend_from_slice(b"\",\"type\":\"video\",\"source\":\"pc_recorder\"}");
                }
            }
            _ => {}
        }
    }

    /// Updates the session after `event` is written.
    pub(crate) fn settle(&mut self, session: &mut ClientSession, event: EventName) {
        match event {
            EventName::PlaybackEnded | EventName::PlaybackError => session.play = None,
            EventName::UploadStep if session.upload.as_ref().is_some_and(|upload| upload.failed) => {
                session.upload = None;
            }
            EventName::ContentPublished => session.upload = None,
            _ => {}
        }
    }

    fn video(&mut self, session: &mut ClientSession) -> u32 {
        let count = self.videos.len() as u32;
        *session.video.get_or_insert_with(|| self.dice.zipf_rank(count))
    }

    pub(crate) fn content(&self, video: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"content\":{");
        out.extend_from_slice(&self.videos[video as usize].json);
        out.push(b'}');
    }

    fn watched(&mut self, session: &mut ClientSession, state: &str, out: &mut Vec<u8>) {
        let video = self.video(session);
        self.content(video, out);
        self.playback(session, state, out);
    }

    fn playback(&mut self, session: &ClientSession, state: &str, out: &mut Vec<u8>) {
        let Some(play) = &session.play else { return };
        number(out, ",\"playback\":{\"id\":\"p", play.id);
        text(out, "\",\"state\":\"", state);
        number(out, "\",\"position_ms\":", u64::from(play.position_ms));
        number(out, ",\"played_ms\":", u64::from(play.played_ms));
        text(
            out,
            ",\"quality\":\"",
            self.dice.weighted(&[("1080p", 50), ("720p", 30), ("480p", 12), ("4k", 8)]),
        );
        let rebuffer_ms = if self.dice.chance(0.06) { self.dice.below(4_000) } else { 0 };
        number(out, "\",\"rebuffer_ms\":", u64::from(rebuffer_ms));
        out.push(b'}');
    }

    /// Writes the order ID. Some orders repeat the previous ID, like a client that retries.
    fn order(&mut self, session: &mut ClientSession, out: &mut Vec<u8>) {
        let again = session.order.filter(|_| self.dice.chance(0.05));
        let order = again.unwrap_or_else(|| self.dice.bits());
        session.order = Some(order);
        number(out, ",\"commerce\":{\"order_id\":\"o", order);
        out.push(b'"');
    }

    fn uploading(&mut self, session: &ClientSession, event: EventName, moment: i64, out: &mut Vec<u8>) {
        let Some(upload) = &session.upload else { return };
        let source = match session.device.platform {
            Platform::Pc => "pc_recorder",
            Platform::Ios | Platform::Android => "mobile_recorder",
            _ => "web_upload",
        };
        number(out, ",\"content\":{\"id\":\"n", upload.id);
        text(out, "\",\"type\":\"video\",\"source\":\"", source);
        if event == EventName::ContentPublished {
            number(out, "\",\"author_id\":\"u", u64::from(session.device.user_id));
            text(
                out,
                "\",\"producer_type\":\"",
                self.dice.weighted(&[("ugc", 80), ("pugc", 17), ("pgc", 3)]),
            );
            text(out, "\",\"category\":\"", self.dice.weighted(&CATEGORIES));
            text(out, "\",\"tags\":[\"", self.dice.pick(&TAGS));
            text(out, "\",\"", self.dice.pick(&TAGS));
            number(out, "\"],\"duration_ms\":", self.dice.spread(15_000, 3_600_000) as u64);
            if self.dice.chance(0.5) {
                let published = moment - self.dice.spread(1_000, 2 * 86_400_000);
                number(out, ",\"published_at\":", published.max(0) as u64);
            }
            number(out, "},\"creator\":{\"id\":\"u", u64::from(session.device.user_id));
            number(out, "\",\"level\":\"lv", u64::from(1 + session.device.user_id % 6));
            out.extend_from_slice(b"\"}");
            return;
        }
        let step = if upload.failed { "failed" } else { UPLOAD_STEPS[upload.step] };
        number(out, "\"},\"upload\":{\"id\":\"up", upload.id);
        text(out, "\",\"step\":\"", step);
        number(out, "\",\"bytes\":", upload.bytes);
        number(out, ",\"duration_ms\":", u64::from(self.dice.below(60_000)));
        if upload.failed {
            text(out, ",\"error_code\":\"", self.dice.pick(&["network", "disk_full", "codec", "rejected"]));
            out.push(b'"');
        }
        out.push(b'}');
    }
}
