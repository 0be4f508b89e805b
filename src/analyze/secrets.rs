//! What of an endpoint's settings is a secret, whether it is called one or not.
//!
//! Pure. `endpoint` strikes it out of whatever a server says.

use crate::config::{HttpEndpoint, Secret};

/// What is shorter is a version or a name, as a rule.
const VALUE_CHARS_HIDDEN: usize = 8;
/// In the path of a url: Azure's and others', which answers repeat as the model.
const NAMES_FOLLOW: [&str; 3] = ["deployments", "engines", "models"];

/// What no answer may carry into a log or the database: a header's value may be `Bearer` and a key,
/// or a list of cookies.
pub(super) fn secrets(model: &str, http: &HttpEndpoint) -> Vec<Secret> {
    let headers = || http.headers.iter().map(|(_, value)| value.expose());
    let words = headers().flat_map(|value| value.split([' ', ',', ';']));
    let cookies = words.clone().filter_map(|word| Some(word.split_once('=')?.1));
    let query = http.query.iter().map(Secret::expose);
    let values = headers().chain(words).chain(cookies).chain(query);
    let values = values.filter(|value| value.len() >= VALUE_CHARS_HIDDEN);
    let own = values.chain(tokens_of_path(model, http.url.expose()));
    http.api_key.iter().cloned().chain(own.map(|value| Secret::of(value.to_owned()))).collect()
}

/// Parts of a url's path that may be tokens: long, with a digit, and no name of a model's.
fn tokens_of_path<'a>(model: &'a str, url: &'a str) -> impl Iterator<Item = &'a str> {
    let whole = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = whole.split_once('?').map_or(whole, |(path, _)| path);
    let parts: Vec<_> = path.split('/').collect();
    let pairs: Vec<_> = parts.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.into_iter().filter_map(move |(before, part)| {
        let random = part.bytes().any(|byte| byte.is_ascii_digit());
        let named = part == model || NAMES_FOLLOW.contains(&before);
        (part.len() >= VALUE_CHARS_HIDDEN && random && !named).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_of_a_path_may_be_a_token() {
        for (url, expected) in [
            ("https://h/acct-77777777/v1/chat/completions", &["acct-77777777"][..]),
            ("https://h/client/v4/accounts/0123abcd/ai/v1/chat/completions?a=1", &["0123abcd"]),
            ("https://h/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-1", &[]),
            ("https://h/mine-4o-mini/v1/chat/completions", &[]),
            ("http://10.0.0.123:8080/v1/chat/completions", &[]),
            ("https://h/compatible-mode/v1/chat/completions", &[]),
        ] {
            let found: Vec<_> = tokens_of_path("mine-4o-mini", url).collect();
            assert_eq!(found, expected, "{url}");
        }
    }
}
