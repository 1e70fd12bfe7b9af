//! Where written mails go: to a mail server, or into a folder where there is none.

use lettre::{Address, address::Envelope};
use ruma::ServerName;

use super::{
    error::{DeliveryError, SetupError, Unavailable},
    message::{self, Sender},
    outbox::Outbox,
    settings::MailSettings,
    smtp::{MAX_CONNECTIONS, Smtp},
};
use crate::random::Random;

/// Hands mails over, one at a time: nothing here is retried.
#[derive(Debug)]
pub struct Carrier {
    sender: Address,
    way: Way,
}

enum Way {
    Smtp(Box<Smtp>),
    Outbox(Outbox),
}

impl Carrier {
    /// A way out as the settings say. `server_name` names us to the mail server. Reads the
    /// certificates of the machine, and connects to nothing yet.
    ///
    /// # Errors
    ///
    /// The settings cannot be used.
    pub fn new(
        settings: &MailSettings,
        server_name: &ServerName,
        random: Random,
    ) -> Result<Self, SetupError> {
        let way = match &settings.host {
            Some(host) => Way::Smtp(Box::new(Smtp::new(settings, host, server_name)?)),
            None => Way::Outbox(Outbox::new(settings.outbox.clone(), random)),
        };
        let sender = Sender::parse(&settings.from, server_name.host())?;
        Ok(Self {
            sender: sender.address(),
            way,
        })
    }

    /// The folder of mails, where there is no mail server.
    pub fn outbox(&self) -> Option<&Outbox> {
        match &self.way {
            Way::Outbox(outbox) => Some(outbox),
            Way::Smtp(_) => None,
        }
    }

    /// How many mails may be under way at once. One, where their order shows.
    pub(super) fn places(&self) -> usize {
        match &self.way {
            Way::Smtp(_) => MAX_CONNECTIONS,
            Way::Outbox(_) => 1,
        }
    }

    /// Hands a message to the mail server, or keeps it. Only what is one address gets mail.
    ///
    /// # Errors
    ///
    /// The mail was refused, or cannot be sent now. Nothing of it is repeated.
    pub async fn carry(
        &self,
        recipient: &str,
        message: &[u8],
        written_ms: u64,
    ) -> Result<(), DeliveryError> {
        match &self.way {
            Way::Smtp(smtp) => {
                let to = message::recipient(recipient).map_err(|_| NOT_AN_ADDRESS)?;
                let envelope = Envelope::new(Some(self.sender.clone()), vec![to.email])
                    .map_err(|_| NOT_AN_ADDRESS)?;
                smtp.send(&envelope, message).await
            }
            Way::Outbox(outbox) => Ok(outbox
                .keep(written_ms, message)
                .await
                .map_err(Unavailable::Outbox)?),
        }
    }
}

/// The answer of a mail server to what is no address (RFC 5321, section 4.2.3).
const NOT_AN_ADDRESS: DeliveryError = DeliveryError::Refused { code: 553 };

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Smtp(_) => f.write_str("Smtp"),
            Self::Outbox(outbox) => outbox.fmt(f),
        }
    }
}
