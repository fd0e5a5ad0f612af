//! Hashes of identities: the output partition of a key, and keyed hashes of devices and users.
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Kafka's murmur2 of a key.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, &byte) in rest.iter().enumerate() {
            h ^= u32::from(byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition of a key, as the Java producer of Kafka computes it. `partitions` must be at least 1.
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// The secret key of identity hashes. Tables hold these hashes instead of identifiers that clients send.
#[derive(Debug, Clone)]
pub struct IdentityKey {
    key: [u8; 16],
}

impl IdentityKey {
    /// Derives the key from a secret of any length. Another secret gives other hashes for the same devices.
    pub fn new(secret: &str) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write(secret.as_bytes());
        Self { key: hasher.finish128().as_u128().to_le_bytes() }
    }

    /// 128-bit hash of `namespace:id`. Its low 64 bits are the `device_key` or `user_key`.
    pub fn hash(&self, namespace: &str, id: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(namespace.as_bytes());
        hasher.write(b":");
        hasher.write(id.as_bytes());
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_the_java_client() {
        // Values of org.apache.kafka.common.utils.UtilsTest.
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn another_secret_gives_another_device_key() {
        let (a, b) = (IdentityKey::new("a"), IdentityKey::new("b"));
        assert_ne!(a.hash("web-main", "d1"), b.hash("web-main", "d1"));
        assert_ne!(a.hash("web-main", "d1"), a.hash("app-main", "d1"));
        assert_eq!(a.hash("web-main", "d1"), IdentityKey::new("a").hash("web-main", "d1"));
    }
}
