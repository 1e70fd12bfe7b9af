//! What a web page says of itself: `OpenGraph`, and what stands for it where there is none.
//!
//! The page is read as tokens, one after the other, so that no page is too deep.

use std::cell::RefCell;

use html5ever::{
    buffer_queue::BufferQueue,
    tendril::StrTendril,
    tokenizer::{
        Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};

/// The longest text that is kept, in characters.
const LONGEST: usize = 1_000;
/// How many properties are kept.
const MOST: usize = 64;

/// What a page says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// `og:` properties and what stands for them, in their order.
    pub(super) properties: Vec<(String, String)>,
}

impl Page {
    /// The first value of a property.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.properties.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: &str, value: &str) {
        let value = tidy(value);
        if value.is_empty() || self.properties.len() >= MOST || self.get(name).is_some() {
            return;
        }
        self.properties.push((name.to_owned(), value));
    }
}

/// Reads a page.
pub(super) fn read(html: &str) -> Page {
    let reader = Reader::default();
    let tokenizer = Tokenizer::new(reader, TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(html));
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    tokenizer.sink.finish()
}

#[derive(Default)]
struct Reader(RefCell<State>);

#[derive(Default)]
struct State {
    page: Page,
    /// What stands for `OpenGraph`.
    meta_description: String,
    title: String,
    heading: String,
    paragraph: String,
    image: String,
    /// The element whose text is read.
    inside: Option<Text>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Title,
    Heading,
    Paragraph,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => return state.tag(&tag),
            Token::CharacterTokens(text) => state.text(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Reader {
    fn finish(self) -> Page {
        let state = self.0.into_inner();
        let mut page = state.page;
        let title = if tidy(&state.title).is_empty() {
            &state.heading
        } else {
            &state.title
        };
        page.add("og:title", title);
        let description = if tidy(&state.meta_description).is_empty() {
            &state.paragraph
        } else {
            &state.meta_description
        };
        page.add("og:description", description);
        page.add("og:image", &state.image);
        page
    }
}

impl State {
    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let attribute = |name: &str| {
            let mut found = tag.attrs.iter().filter(|one| &*one.name.local == name);
            found.next().map(|one| one.value.to_string())
        };
        if tag.kind == TagKind::EndTag {
            if matches!(&*tag.name, "title" | "h1" | "p") {
                self.inside = None;
            }
            return TokenSinkResult::Continue;
        }
        match &*tag.name {
            "meta" => {
                let name = attribute("property").or_else(|| attribute("name"));
                let content = attribute("content").unwrap_or_default();
                self.meta(&name.unwrap_or_default().to_lowercase(), &content);
            }
            "link" if self.image.is_empty() => {
                let rel = attribute("rel").unwrap_or_default().to_lowercase();
                if matches!(rel.as_str(), "image_src" | "apple-touch-icon") {
                    self.image = attribute("href").unwrap_or_default();
                }
            }
            "title" => {
                self.begin(Text::Title);
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "h1" => self.begin(Text::Heading),
            "p" => self.begin(Text::Paragraph),
            "script" => return TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "noscript" | "iframe" | "noembed" | "noframes" | "xmp" => {
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "textarea" => return TokenSinkResult::RawData(RawKind::Rcdata),
            "plaintext" => return TokenSinkResult::Plaintext,
            _ => {}
        }
        TokenSinkResult::Continue
    }

    /// The first of each kind counts.
    fn begin(&mut self, what: Text) {
        let is_first = tidy(self.place(what)).is_empty();
        self.inside = is_first.then_some(what);
    }

    fn place(&mut self, what: Text) -> &mut String {
        match what {
            Text::Title => &mut self.title,
            Text::Heading => &mut self.heading,
            Text::Paragraph => &mut self.paragraph,
        }
    }

    fn text(&mut self, text: &str) {
        let Some(inside) = self.inside else { return };
        let place = self.place(inside);
        if place.len() < LONGEST * 4 {
            place.push_str(text);
        }
    }

    fn meta(&mut self, name: &str, content: &str) {
        if name.starts_with("og:") && name.len() <= 100 {
            let name = match name {
                "og:image:url" | "og:image:secure_url" => "og:image",
                name => name,
            };
            self.page.add(name, content);
        } else if name == "description" && self.meta_description.is_empty() {
            content.clone_into(&mut self.meta_description);
        } else if let Some(name) = name.strip_prefix("twitter:")
            && matches!(name, "title" | "description" | "image")
        {
            match name {
                "image" if self.image.is_empty() => content.clone_into(&mut self.image),
                "description" if self.meta_description.is_empty() => {
                    content.clone_into(&mut self.meta_description);
                }
                _ => {}
            }
        }
    }
}

/// A text without more white space than it needs, and not too long.
fn tidy(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut kept: String = words
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    if words.chars().nth(LONGEST).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_is() {
        let page = read(
            "<html><head><title>Not this</title>\
             <meta property='og:title' content='A &amp; B'>\
             <meta property='og:title' content='Not this either'>\
             <meta property='og:image:url' content='/a.png'>\
             <meta name=description content='  Some\n  words '></head>",
        );
        assert_eq!(page.get("og:title"), Some("A & B"));
        assert_eq!(page.get("og:description"), Some("Some words"));
        assert_eq!(page.get("og:image"), Some("/a.png"));
    }

    #[test]
    fn where_it_says_nothing_its_text_stands_for_it() {
        let page = read(
            "<title> </title><script>var a = '<p>no</p><title>no</title>';</script>\
             <style>p { }</style><h1>Heading <b>bold</b></h1><p></p><p>First &eacute;</p><p>Second</p>",
        );
        assert_eq!(page.get("og:title"), Some("Heading bold"));
        assert_eq!(page.get("og:description"), Some("First é"));
        assert_eq!(page.get("og:image"), None);
    }

    #[test]
    fn no_page_is_too_deep_or_too_long() {
        let deep = "<div>".repeat(100_000);
        assert_eq!(read(&deep), Page::default());
        let long = format!("<title>{}</title>", "a".repeat(100_000));
        assert_eq!(
            read(&long)
                .get("og:title")
                .map(|title| title.chars().count()),
            Some(1_001)
        );
        let many = (0..1_000).map(|at| format!("<meta property='og:{at}' content=a>"));
        let many = many.collect::<Vec<_>>().concat();
        assert!(read(&many).properties.len() <= MOST);
        for odd in ["", "<", "<title", "<title>a", "\0", "<!--", "<p><p><p>"] {
            read(odd);
        }
    }
}
