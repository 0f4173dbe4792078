//! Mail by SMTP, to the address that was checked.

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};

use super::{Notification, SendError, TIMEOUT, policy};
use crate::alerts::receiver::{Email, MailTls, Network};

pub(super) async fn send(email: &Email, allow: &[Network], notification: &Notification) -> Result<(), SendError> {
    let message = message(email, notification)?;
    let addresses = policy::resolve(&email.host, email.port, allow).await?;
    let mut last = None;
    for address in addresses {
        let transport = transport(email, &address.ip().to_string())?;
        match transport.send(message.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let refused = error.status().map(u16::from);
                last = Some(match refused {
                    Some(status) => SendError::Refused { status, text: error.to_string() },
                    None => SendError::Unreachable(error.to_string()),
                });
            }
        }
    }
    Err(last.unwrap_or_else(|| SendError::Unreachable("it has no address".to_owned())))
}

/// A connection to one address, which proves itself by the server's name.
fn transport(email: &Email, address: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
    let parameters = || TlsParameters::new(email.host.clone()).map_err(|error| SendError::Unmade(error.to_string()));
    let tls = match email.tls {
        MailTls::StartTls => Tls::Required(parameters()?),
        MailTls::Tls => Tls::Wrapper(parameters()?),
        MailTls::None => Tls::None,
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address);
    let mut builder = builder.port(email.port).tls(tls).timeout(Some(TIMEOUT));
    if let Some((user, password)) = &email.login {
        let password = password.read().map_err(SendError::Unreadable)?;
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

fn message(email: &Email, notification: &Notification) -> Result<Message, SendError> {
    let unmade = |error: &dyn std::fmt::Display| SendError::Unmade(error.to_string());
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| unmade(&error));
    let mut builder = Message::builder()
        .from(mailbox(&email.from)?)
        .subject(notification.title())
        // A message that is sent again has the same id: mail servers and readers know it by that.
        .message_id(Some(format!("<{}@errata>", notification.id)));
    for to in &email.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.header(ContentType::TEXT_PLAIN).body(notification.text()).map_err(|error| unmade(&error))
}
