//! Asks a server whether it takes connections, in its own protocol.
//!
//! That is less than a query: it needs no pool, and tells a server that still recovers from one
//! that does not.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::NAME;

/// How long the server may think about it.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest message that is read.
const LONGEST: u32 = 64 * 1024;

/// Version 3.0 of the protocol.
const VERSION: u32 = 3 << 16;

/// The field of an error that says that the server starts, stops or recovers.
const CANNOT_CONNECT_NOW: &[u8] = b"C57P03\0";

/// Whether the server of this socket takes connections.
pub(super) async fn answers(socket: &Path) -> bool {
    matches!(timeout(LIMIT, connect(socket)).await, Ok(Ok(true)))
}

async fn connect(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&startup_message()).await?;
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?.saturating_sub(4);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = Vec::new();
        (&mut stream)
            .take(u64::from(length))
            .read_to_end(&mut body)
            .await?;
        match kind {
            // Ready for a query: say good-bye.
            b'Z' => {
                stream.write_all(b"X\0\0\0\x04").await?;
                return Ok(true);
            }
            // Any other refusal, such as too many connections, comes from a server that works.
            b'E' => {
                let mut fields = body.windows(CANNOT_CONNECT_NOW.len());
                return Ok(!fields.any(|field| field == CANNOT_CONNECT_NOW));
            }
            _ => (),
        }
    }
}

fn startup_message() -> Vec<u8> {
    let parameters = format!("user\0{NAME}\0database\0{NAME}\0application_name\0probe\0\0");
    let length = u32::try_from(parameters.len() + 8).unwrap_or_default();
    let mut message = Vec::new();
    message.extend(length.to_be_bytes());
    message.extend(VERSION.to_be_bytes());
    message.extend(parameters.as_bytes());
    message
}
