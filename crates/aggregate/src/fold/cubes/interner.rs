//! Texts as numbers. The numbers depend on which texts came before, so nothing that is written to ClickHouse may depend
//! on them.
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A text of the interner; 0 is ''.
pub(super) type TextId = u32;

/// Texts and their numbers.
#[derive(Debug)]
pub(super) struct Interner {
    texts: String,
    ends: Vec<usize>,
    known: HashTable<TextId>,
    state: FixedState,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            texts: String::new(),
            ends: vec![0],
            known: HashTable::new(),
            state: FixedState::with_seed(0x6d69_6c6c),
        }
    }
}

impl Interner {
    /// The number of a text; a new text gets the next number.
    pub(super) fn intern(&mut self, text: &str) -> TextId {
        if text.is_empty() {
            return 0;
        }
        let hash = self.state.hash_one(text);
        let (texts, ends, state) = (&self.texts, &self.ends, &self.state);
        if let Some(&id) = self.known.find(hash, |&id| resolve(texts, ends, id) == text) {
            return id;
        }
        let id = ends.len() as TextId;
        self.texts.push_str(text);
        self.ends.push(self.texts.len());
        let (texts, ends) = (&self.texts, &self.ends);
        self.known.insert_unique(hash, id, |&id| state.hash_one(resolve(texts, ends, id)));
        id
    }

    /// The text of a number.
    pub(super) fn text(&self, id: TextId) -> &str {
        resolve(&self.texts, &self.ends, id)
    }

    /// How many numbers are in use, 0 included.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.texts.capacity() + self.ends.capacity() * size_of::<usize>() + self.known.allocation_size()
    }
}

fn resolve<'a>(texts: &'a str, ends: &[usize], id: TextId) -> &'a str {
    let Some(before) = (id as usize).checked_sub(1) else { return "" };
    match (ends.get(before), ends.get(id as usize)) {
        (Some(&start), Some(&end)) => texts.get(start..end).unwrap_or(""),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_number() {
        let mut interner = Interner::default();
        let (web, ios) = (interner.intern("web"), interner.intern("ios"));
        assert_eq!(interner.intern("web"), web);
        assert_ne!(web, ios);
        assert_eq!((interner.text(web), interner.text(ios), interner.text(0)), ("web", "ios", ""));
        assert_eq!(interner.intern(""), 0);
    }
}
