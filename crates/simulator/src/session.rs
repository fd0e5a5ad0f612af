//! One session of one device: its next event, the page or screen it is on, and the evidence of its channel.

use crate::channel::Evidence;
use crate::dice::Dice;
use crate::json_text::{number, text};
use crate::names::{ChannelGroup, EventName, Platform};
use crate::population::{Device, Memory};
use crate::tables::{PAGES, SCREENS};

pub(crate) struct ClientSession {
    /// Number of the device.
    pub(crate) number: u32,
    pub(crate) device: Device,
    pub(crate) session_id: String,
    /// Channel group of the session with this ID. None before the first counted event with the ID.
    pub(crate) id_group: Option<ChannelGroup>,
    /// The member `page` or `screen`, with the evidence that belongs to it.
    pub(crate) place: Vec<u8>,
    /// Channel group of that evidence.
    pub(crate) shown: Option<ChannelGroup>,
    /// Evidence of the app start. The first event takes it.
    pub(crate) start: Option<Evidence>,
    pub(crate) logged_in: bool,
    pub(crate) last_ms: i64,
    /// Number of the video viewed last.
    pub(crate) video: Option<u32>,
    pub(crate) play: Option<Play>,
    pub(crate) upload: Option<Upload>,
    pub(crate) entry_point: &'static str,
    /// Number of the last order.
    pub(crate) order: Option<u64>,
    landed: bool,
    path: String,
    forced: Option<EventName>,
    left: u32,
}

pub(crate) struct Play {
    pub(crate) id: u64,
    pub(crate) position_ms: u32,
    /// Played since the previous event.
    pub(crate) played_ms: u32,
    pub(crate) duration_ms: u32,
}

pub(crate) struct Upload {
    pub(crate) id: u64,
    pub(crate) step: usize,
    pub(crate) failed: bool,
    pub(crate) bytes: u64,
}

/// Steps of an upload in order. A failed upload ends with `failed`.
pub(crate) const UPLOAD_STEPS: [&str; 6] = ["select", "edit", "encode", "transfer", "submit", "done"];

impl ClientSession {
    pub(crate) fn new(number: u32, device: Device, dice: &mut Dice, memory: &mut Memory) -> Self {
        memory.in_session = true;
        let first = !std::mem::replace(&mut memory.opened, true);
        let platform = device.platform;
        let mut session = Self {
            number,
            session_id: format!("s{:015x}", dice.bits() >> 4),
            id_group: None,
            place: Vec::with_capacity(512),
            shown: None,
            start: None,
            logged_in: false,
            last_ms: i64::MIN,
            video: None,
            play: None,
            upload: None,
            entry_point: "mobile",
            order: None,
            landed: false,
            path: String::new(),
            forced: None,
            left: dice.spread(4, 60) as u32,
            device,
        };
        if session.on_the_web() {
            session.land(dice);
            session.forced = Some(EventName::PageView);
        } else {
            session.start = Some(Evidence::of_start(dice));
            session.enter("launch");
            session.forced = Some(match (first, dice.below(20)) {
                (true, _) => EventName::FirstOpen,
                (false, 0) if platform != Platform::MiniProgram => EventName::AppUpdated,
                _ => EventName::AppOpen,
            });
        }
        session
    }

    pub(crate) fn over(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn on_the_web(&self) -> bool {
        matches!(self.device.platform, Platform::Web | Platform::H5)
    }

    /// Chooses the next event and moves the session to it, before the event is written. `custom` allows names
    /// outside the standard list.
    pub(crate) fn advance(&mut self, dice: &mut Dice, memory: &mut Memory, custom: bool) -> EventName {
        self.left = self.left.saturating_sub(1);
        let event = match self.forced.take() {
            Some(event) => event,
            None if self.play.is_some() => self.watch_on(dice, custom),
            None if self.upload.is_some() => EventName::UploadStep,
            None => self.choose(dice, memory, custom),
        };
        self.follow_up(event, dice, memory);
        event
    }

    fn choose(&mut self, dice: &mut Dice, memory: &Memory, custom: bool) -> EventName {
        use EventName::*;
        let view = if self.on_the_web() { PageView } else { ScreenView };
        if !self.logged_in && dice.chance(0.15) {
            if self.device.has_account || memory.registered {
                return Login;
            }
            if dice.chance(0.1) {
                return Register;
            }
        }
        if self.device.platform == Platform::Pc {
            return dice.weighted(&[
                (view, 22),
                (ContentCaptured, 24),
                (VipOpened, 1),
                (CreatorLevelChanged, 1),
                (ImageProcessed, 14),
                (UploadStep, 12),
                (VipPageViewed, 8),
                (ActivityEvent, 6),
                (TagUsed, 3),
                (ExperimentExposed, 3),
                (AdShown, 6),
                (Share, 2),
            ]);
        }
        let event = dice.weighted(&[
            (view, 26),
            (ContentView, 34),
            (Search, 8),
            (VipPageViewed, 4),
            (ActivityEvent, 8),
            (UploadStep, 3),
            (TagUsed, 2),
            (ExperimentExposed, 4),
            (AdShown, 8),
            (Follow, 2),
            (ThemeChanged, 1),
            // Without a preceding VIP page in this session.
            (VipOpened, 1),
            (CreatorLevelChanged, 1),
        ]);
        if event == ThemeChanged && !custom { view } else { event }
    }

    /// Chooses the next event during a playback.
    fn watch_on(&mut self, dice: &mut Dice, custom: bool) -> EventName {
        use EventName::*;
        let Some(play) = &mut self.play else { return ScreenView };
        let event = dice.weighted(&[
            (PlaybackPing, 66),
            (PlaybackPaused, 5),
            (PlaybackEnded, 12),
            (PlaybackError, 1),
            (Comment, 4),
            (DanmakuSent, 4),
            (GiftSent, 3),
            (Share, 3),
            (Follow, 2),
        ]);
        play.played_ms = 0;
        if matches!(event, PlaybackPing | PlaybackPaused | PlaybackEnded) {
            let wanted =
                if event == PlaybackPing { dice.between(9_000, 31_000) } else { dice.spread(300, 20_000) };
            play.played_ms = (wanted as u32).min(play.duration_ms - play.position_ms);
            play.position_ms += play.played_ms;
            if play.position_ms == play.duration_ms {
                return PlaybackEnded;
            }
        }
        if event == DanmakuSent && !custom { Comment } else { event }
    }

    /// Updates the session before `event` is written, and chooses the event that must follow it.
    fn follow_up(&mut self, event: EventName, dice: &mut Dice, memory: &mut Memory) {
        use EventName::*;
        self.forced = match event {
            FirstOpen | AppUpdated => Some(AppOpen),
            AppOpen if self.device.has_account && dice.chance(0.5) => Some(Login),
            // The first page view is on the landing page itself.
            PageView if !std::mem::replace(&mut self.landed, true) => None,
            PageView | ScreenView => {
                self.wander(dice);
                None
            }
            ContentView => {
                self.visit(dice, "play", "v/", "播放页");
                dice.chance(0.8).then_some(PlaybackStarted)
            }
            PlaybackPaused if dice.chance(0.7) => Some(PlaybackResumed),
            VipPageViewed => {
                self.visit(dice, "vip_landing", "vip", "开通会员");
                self.entry_point = match self.device.platform {
                    Platform::Pc => dice.pick(&["recorder_vip", "pc_vip_list"]),
                    Platform::Web => dice.pick(&["pc_vip_list", "play_page"]),
                    _ => dice.pick(&["mobile", "play_page"]),
                };
                dice.chance(0.12).then_some(VipOpened)
            }
            AdShown => dice.chance(0.04).then_some(AdClicked),
            ActivityEvent => {
                if dice.chance(0.5) {
                    self.visit(dice, "activity", "activity/", "活动");
                }
                None
            }
            UploadStep => self.upload_on(dice),
            Login => {
                self.logged_in = true;
                None
            }
            Register => {
                self.logged_in = true;
                memory.registered = true;
                None
            }
            _ => None,
        };
    }

    fn upload_on(&mut self, dice: &mut Dice) -> Option<EventName> {
        let Some(upload) = &mut self.upload else {
            let (id, bytes) = (dice.bits(), dice.spread(200_000, 2_000_000_000) as u64);
            self.upload = Some(Upload { id, step: 0, failed: false, bytes });
            return None;
        };
        upload.step += 1;
        upload.failed = dice.chance(0.04);
        (upload.step == UPLOAD_STEPS.len() - 1 && !upload.failed).then_some(EventName::ContentPublished)
    }

    fn wander(&mut self, dice: &mut Dice) {
        if self.on_the_web() {
            let (page_type, path, title) = dice.pick(&PAGES);
            self.visit(dice, page_type, path, title);
        } else {
            self.enter(dice.pick(&SCREENS));
        }
    }

    fn enter(&mut self, screen: &str) {
        self.place.clear();
        text(&mut self.place, ",\"screen\":{\"name\":\"", screen);
        self.place.extend_from_slice(b"\"}");
    }

    fn host(&self) -> &'static str {
        if self.device.platform == Platform::H5 { "https://m.example.tv/" } else { "https://www.example.tv/" }
    }

    /// Moves to a page of the site. Usually the previous page is the referrer.
    fn visit(&mut self, dice: &mut Dice, page_type: &str, path: &str, title: &str) {
        if !self.on_the_web() {
            return self.enter(page_type);
        }
        let before = std::mem::replace(&mut self.path, path.to_owned());
        if path.ends_with('/') {
            self.path.push_str(itoa::Buffer::new().format(dice.below(1_000_000)));
        }
        let host = self.host();
        self.place.clear();
        text(&mut self.place, ",\"page\":{\"url\":\"", host);
        text(&mut self.place, &self.path, "\",\"path\":\"/");
        text(&mut self.place, &self.path, "\",\"title\":\"");
        text(&mut self.place, title, "\",\"page_type\":\"");
        text(&mut self.place, page_type, "\"");
        self.shown = match dice.below(20) {
            0..16 => {
                text(&mut self.place, ",\"referrer\":\"", host);
                text(&mut self.place, &before, "\"");
                Some(ChannelGroup::Internal)
            }
            16 => {
                text(&mut self.place, ",\"referrer\":\"\"", "");
                None
            }
            _ => None,
        };
        self.place.push(b'}');
    }

    /// Moves to the landing page.
    fn land(&mut self, dice: &mut Dice) {
        let evidence = Evidence::of_landing(dice);
        self.shown = evidence.group(None);
        let in_url = dice.chance(0.7);
        let (page_type, path, title) = dice.pick(&PAGES);
        let host = self.host();
        self.path = path.to_owned();
        if path.ends_with('/') {
            self.path.push_str(itoa::Buffer::new().format(dice.below(1_000_000)));
        }
        let out = &mut self.place;
        text(out, ",\"page\":{\"url\":\"", host);
        text(out, &self.path, "?spm=");
        text(out, "", dice.pick(&["a1.2", "b7.9"]));
        if in_url {
            if let Some((source, medium, _)) = evidence.campaign {
                text(out, "&utm_source=", source);
                text(out, "&utm_medium=", medium);
                text(out, "&utm_campaign=", dice.pick(&["spring", "%E6%9A%91%E6%9C%9F", "vip_7d"]));
            }
            if let Some((kind, _)) = evidence.click {
                text(out, "&", kind);
                number(out, "=x", dice.bits());
            }
        }
        text(out, "\",\"path\":\"/", &self.path);
        text(out, "\",\"title\":\"", title);
        text(out, "\",\"page_type\":\"", page_type);
        if let Some((referrer, _)) = evidence.referrer {
            text(out, "\",\"referrer\":\"", referrer);
            if !referrer.ends_with("google.com/") {
                number(out, "", u64::from(dice.below(10_000_000)));
            }
        }
        out.extend_from_slice(b"\"}");
        if !in_url {
            write_evidence(out, &evidence, dice);
        }
    }
}

/// Writes the members `campaign`, `click_id` and `click_id_type`.
pub(crate) fn write_evidence(out: &mut Vec<u8>, evidence: &Evidence, dice: &mut Dice) {
    if let Some((source, medium, _)) = evidence.campaign {
        text(out, ",\"campaign\":{\"source\":\"", source);
        text(out, "\",\"medium\":\"", medium);
        text(out, "\",\"name\":\"", dice.pick(&["spring", "暑期", "vip_7d"]));
        out.extend_from_slice(b"\"}");
    }
    if let Some((kind, _)) = evidence.click {
        text(out, ",\"click_id_type\":\"", kind);
        number(out, "\",\"click_id\":\"y", dice.bits());
        out.push(b'"');
    }
}
