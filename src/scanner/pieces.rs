//! A file piece by piece, decrypted in memory, and what its first bytes tell.

use aes::{
    Aes256,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use ctr::Ctr128BE;
use futures_util::StreamExt as _;
use zeroize::Zeroize as _;

use super::{Error, FileKey};
use crate::media::depot::ByteStream;

/// The type of what tells nothing.
pub(super) const OCTETS: &str = "application/octet-stream";
/// How many of the first bytes are looked at.
const HEAD: usize = 8 << 10;

/// A file that is read once.
pub(super) struct Pieces {
    bytes: ByteStream,
    cipher: Option<Ctr128BE<Aes256>>,
    head: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(bytes: ByteStream, key: Option<&FileKey>) -> Self {
        let cipher = key.map(|key| Ctr128BE::<Aes256>::new((&*key.key).into(), (&key.iv).into()));
        Self {
            bytes,
            cipher,
            head: Vec::new(),
        }
    }

    /// The next piece.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(piece) = self.bytes.next().await else {
            return Ok(None);
        };
        let piece = piece.map_err(|error| {
            tracing::warn!(%error, "a file could not be read for the scanner");
            Error::Unscanned
        })?;
        let mut piece = piece.to_vec();
        if let Some(cipher) = &mut self.cipher {
            cipher
                .try_apply_keystream(&mut piece)
                .map_err(|_| Error::Undecryptable)?;
        }
        let missing = HEAD.saturating_sub(self.head.len()).min(piece.len());
        self.head
            .extend_from_slice(piece.get(..missing).unwrap_or_default());
        Ok(Some(piece))
    }

    /// The type that the bytes tell, whatever anybody says of them.
    pub(super) fn mime_type(&self) -> String {
        mime_type(&self.head).to_owned()
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.head.zeroize();
    }
}

/// The type of what begins like this.
pub(super) fn mime_type(head: &[u8]) -> &'static str {
    if let Some(kind) = infer::get(head) {
        return kind.mime_type();
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if head.len() >= HEAD && error.valid_up_to() + 4 > head.len() => {
            let whole = head.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return OCTETS,
    };
    let is_binary = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    if text.is_empty() || text.contains(is_binary) {
        OCTETS
    } else {
        "text/plain"
    }
}
