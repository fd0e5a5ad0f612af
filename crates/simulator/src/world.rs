//! The state that all simulated clients share.

use crate::activity::Activities;
use crate::catalogue::Video;
use crate::config::Config;
use crate::dice::Dice;
use crate::population::{Device, Memory};
use crate::session::ClientSession;

/// Everything but the sessions.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) dice: Dice,
    pub(crate) videos: Vec<Video>,
    pub(crate) activities: Activities,
    pub(crate) memory: Vec<Memory>,
    pub(crate) lost: u64,
}

impl World {
    /// Starts a session of a device that has none.
    pub(crate) fn begin_session(&mut self) -> ClientSession {
        let devices = self.memory.len() as u32;
        let mut number = self.dice.mild_rank(devices);
        for _ in 0..8 {
            if !self.memory[number as usize].in_session {
                break;
            }
            number = self.dice.below(devices);
        }
        let device = Device::new(number, &self.config);
        ClientSession::new(number, device, &mut self.dice, &mut self.memory[number as usize])
    }
}
