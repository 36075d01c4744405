//! Serving under a load, answered as the command `project --phase serving` answers.

use serde::Serialize;
use supernode_bench::projection::Prices;
use supernode_bench::projection::serving::{self, ServingRequest};
use supernode_bench::report::{ServedRow, ShownAnswer, point_text, served_fragment, served_title, service_words};

use super::answered::{Answer, text};
use super::asked::{Question, Read, read};

/// Said of a question about another phase.
const OF_ONE_STEP: &str = "the question is about one step: ask about serving";

/// A deployment in words.
#[derive(Serialize)]
struct Service {
    /// Why there is none.
    infeasible: Option<String>,
    words: Option<ShownAnswer>,
}

/// A deployment on the front.
#[derive(Serialize)]
struct FrontPoint {
    tokens_per_s_per_user: f64,
    tokens_per_s_per_chip: f64,
    /// Its figures and plans in words.
    words: String,
}

/// Answers a question. No deployment is an answer too.
///
/// # Errors
/// One line.
pub(super) fn serve(asked: ServingRequest, prices: Prices) -> Result<String, String> {
    let title = served_title(&asked);
    let served = ServedRow::ask(asked, prices, &mut ());
    text(&Answer {
        answer: served.as_ref().ok().map(ServedRow::json),
        title,
        infeasible: served.as_ref().err().map(ToString::to_string),
        words: served.as_ref().ok().map(ServedRow::words),
        sections: served.as_ref().ok().map(served_fragment),
    })
}

/// The best deployment of a question in closed form: its figures in words, or why there is none.
///
/// # Errors
/// One line: the question cannot be asked so.
pub(super) fn service(request: &str) -> Result<String, String> {
    let Read { question: Question::Serving(asked), prices, .. } = read(request)? else {
        return Err(OF_ONE_STEP.to_owned());
    };
    let words = service_words(&asked, prices);
    text(&Service { infeasible: words.as_ref().err().map(ToString::to_string), words: words.ok() })
}

/// The deployments that no other beats in both tokens per second of a user and of a chip, at any load.
///
/// # Errors
/// One line: the question cannot be asked so, or no deployment answers it.
pub(super) fn front(request: &str) -> Result<String, String> {
    let Question::Serving(asked) = read(request)?.question else {
        return Err(OF_ONE_STEP.to_owned());
    };
    let front = serving::front(&ServingRequest { load: None, ..asked }).map_err(|reason| reason.to_string())?;
    let points: Vec<FrontPoint> = front
        .iter()
        .map(|point| FrontPoint {
            tokens_per_s_per_user: point.tokens_per_s_per_user,
            tokens_per_s_per_chip: point.tokens_per_s_per_chip,
            words: point_text(point),
        })
        .collect();
    text(&points)
}
