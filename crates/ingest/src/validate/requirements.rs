//! Which fields an event must have because of its name and its platform, as bits of [`Required`].
use event::Platform;

use crate::contract::Required;

pub(super) fn of_event_name(name: &str) -> u16 {
    let required: &[Required] = match name {
        "login" | "register" => &[Required::Login],
        "upload_step" => &[Required::Content, Required::Upload],
        "vip_opened" | "gift_sent" => &[Required::Order],
        "creator_level_changed" => &[Required::Creator],
        _ if name.starts_with("playback_") => &[Required::Content, Required::Playback],
        _ if name.starts_with("content_") => &[Required::Content],
        _ => &[],
    };
    required.iter().fold(0, |bits, &one| bits | one as u16)
}

pub(super) fn of_platform(platform: Platform) -> u16 {
    match platform {
        Platform::Web | Platform::H5 => Required::Device as u16 | Required::Browser as u16,
        Platform::Ios | Platform::Android | Platform::Pc => {
            Required::Device as u16 | Required::Installed as u16
        }
        Platform::MiniProgram => Required::Device as u16,
        Platform::Server => 0,
    }
}
