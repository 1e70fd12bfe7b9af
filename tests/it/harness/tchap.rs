//! A server with the rules of Tchap, and people with accounts on it.

use chappe::accounts::NewUser;
use zeroize::Zeroizing;

use super::{
    client::Client,
    server::{PASSWORD, TestOptions, TestServer},
};

/// Agents have addresses of `gouv.fr`, externals of `entreprise.example`.
pub(crate) const CONFIG: &str = r"
[server]
profile = 'tchap'
[registration]
open = false
[policy.addresses]
patterns = [
    { pattern = '.*@(.*\.|)gouv.fr' },
    { pattern = '.*@entreprise.example', external = true },
]
";

/// A server with the rules of Tchap, and further settings.
pub(crate) async fn server(config: &str) -> TestServer {
    let options = TestOptions::with(&format!("{CONFIG}{config}"));
    TestServer::start(options).await
}

/// Makes an account for an address and logs in. The name follows from the address:
/// `jean.dupont@interieur.gouv.fr` is `Jean Dupont [Interieur]`.
pub(crate) async fn person(server: &TestServer, address: &str) -> Client {
    person_with(server, address, None, false).await
}

/// The same, with a name of its own, and perhaps as an administrator of the server.
pub(crate) async fn person_with(
    server: &TestServer,
    address: &str,
    display_name: Option<&str>,
    is_admin: bool,
) -> Client {
    let new = NewUser {
        address: Some(address.to_owned()),
        display_name: display_name.map(str::to_owned),
        password: Some(Zeroizing::new(PASSWORD.to_owned())),
        is_admin,
        ..NewUser::default()
    };
    let user_id = server.app.accounts().create_user(new).await.unwrap();
    let mut client = server.client();
    client.login(user_id.as_str(), PASSWORD).await.expect_ok();
    client
}
