//! Every page with invented contents: to try an operator's templates out, and for previews.

use super::{AuthForm, Home, OutboxEntry, Page, PageError, Pages, Visitor};
use crate::{language::Language, templates::Faults};

/// A page with invented contents.
#[derive(Clone, Debug)]
pub struct PageSample {
    /// What the page is, in letters and underscores.
    pub name: &'static str,
    /// The page.
    pub page: Page,
}

impl Pages {
    /// Every page that people see, in a language, with invented contents.
    pub fn samples(&self, language: Language) -> Vec<PageSample> {
        let visitor = Visitor::opening(Some("token=sample"), language);
        let posted = Visitor::posting(&[("token", "sample")], None, language);
        let home = Home {
            server_name: "agent.example.org",
            homeserver_url: "https://matrix.agent.example.org",
            version: env!("CARGO_PKG_VERSION"),
            profile: "tchap",
        };
        let terms = match language {
            Language::French => "Conditions générales d’utilisation",
            Language::English => "General terms of use",
        };
        let terms = [(terms, "1.0", "https://example.org/terms")];
        let mail = OutboxEntry {
            link: "sample",
            to: "camille.martin@example.org",
            subject: "Tchap",
            date: "2026-01-02T03:04:05Z",
            text: "https://example.org/ a b\n",
        };
        let fields = [("token", "sample")];
        let auth = |form: AuthForm<'_>| self.auth(&form, &fields, false, &visitor);
        [
            ("home", self.home(&home, &visitor)),
            ("address_confirmed", self.address_confirmed(&visitor)),
            ("link_invalid", self.link_invalid(&visitor)),
            (
                "password_reset_confirm",
                self.password_reset_confirm("submit_token", &fields, &visitor),
            ),
            ("password_reset_done", self.password_reset_done(&posted)),
            ("renewed", self.renewed(&visitor)),
            ("already_renewed", self.already_renewed(&visitor)),
            ("renewal_invalid", self.renewal_invalid(&visitor)),
            (
                "consent",
                self.consent("consent", &terms, &fields, &visitor),
            ),
            ("consent_done", self.consent_done(&posted)),
            ("auth_dummy", auth(AuthForm::Dummy)),
            ("auth_terms", auth(AuthForm::Terms(&terms))),
            ("auth_password", auth(AuthForm::Password)),
            ("auth_registration_token", auth(AuthForm::RegistrationToken)),
            ("auth_email", auth(AuthForm::Email)),
            ("auth_email_sent", auth(AuthForm::EmailSent)),
            (
                "auth_password_wrong",
                self.auth(&AuthForm::Password, &fields, true, &visitor),
            ),
            ("auth_done", self.auth_done(&visitor)),
            (
                "unsubscribe_confirm",
                self.unsubscribe_confirm("unsubscribe", &fields, &visitor),
            ),
            ("unsubscribe_done", self.unsubscribe_done(&posted)),
            ("not_found", self.not_found(&visitor)),
            (
                "development_outbox",
                self.development_outbox(&[mail], &visitor),
            ),
            (
                "development_outbox_empty",
                self.development_outbox(&[], &visitor),
            ),
            (
                "development_mail",
                self.development_mail(&mail, "list", &visitor),
            ),
        ]
        .map(|(name, page)| PageSample { name, page })
        .to_vec()
    }

    /// Renders every page once, so that a mistake shows before somebody opens one.
    pub(super) fn try_out(&self) -> Result<(), PageError> {
        let samples = [Language::French, Language::English].map(|language| self.samples(language));
        if samples
            .iter()
            .flatten()
            .all(|sample| sample.page.fault.is_none())
        {
            return Ok(());
        }
        let mut faults = Vec::new();
        for fault in samples
            .into_iter()
            .flatten()
            .filter_map(|sample| sample.page.fault)
        {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        Err(Faults(faults).into())
    }
}
