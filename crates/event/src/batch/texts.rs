//! The texts of a batch. Each distinct text is stored once and named by a number.

/// Number of a text in its batch; 0 is the empty text.
pub type TextRef = u32;

/// The distinct texts of a batch, concatenated.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    pub(super) text: String,
    pub(super) ends: Vec<u32>,
}

impl Texts {
    fn range(&self, text: TextRef) -> std::ops::Range<usize> {
        let Some(index) = (text as usize).checked_sub(1) else { return 0..0 };
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        start as usize..end as usize
    }

    pub(super) fn get(&self, text: TextRef) -> &str {
        self.text.get(self.range(text)).unwrap_or("")
    }

    pub(super) fn is(&self, text: TextRef, value: &str) -> bool {
        self.text.as_bytes().get(self.range(text)).is_some_and(|known| same_text(known, value.as_bytes()))
    }

    pub(super) fn push(&mut self, text: &str) -> TextRef {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        self.ends.len() as TextRef
    }

    /// Number of text numbers in use, 0 included.
    pub(super) fn count(&self) -> usize {
        self.ends.len() + 1
    }
}

/// Whether two texts are equal. Most texts compared here are shorter than 64 bytes; for those the call into libc
/// costs more than the comparison.
#[inline]
pub fn same_text(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (Some(a_last), Some(b_last)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        if a.len() > 64 {
            return a == b;
        }
        // If the length is not a multiple of 8, the last word overlaps the one before it.
        let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
        return a_last == b_last && a_words.iter().zip(b_words).all(|(a, b)| a == b);
    }
    if let (Some(a_last), Some(b_last)) = (a.last_chunk::<4>(), b.last_chunk::<4>()) {
        return a_last == b_last && a.first_chunk::<4>() == b.first_chunk::<4>();
    }
    a.iter().zip(b).all(|(a, b)| a == b)
}
