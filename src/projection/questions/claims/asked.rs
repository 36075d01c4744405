//! Questions that readings ask, each answered once.

use rayon::prelude::*;

/// Questions with their answers, and questions that are open.
pub(super) struct AskedOnce<Q, A> {
    answered: Vec<(Q, A)>,
    open: Vec<Q>,
}

impl<Q, A> Default for AskedOnce<Q, A> {
    fn default() -> Self {
        Self { answered: Vec::new(), open: Vec::new() }
    }
}

impl<Q: PartialEq + Send, A: Send> AskedOnce<Q, A> {
    /// Adds a question, unless it is there.
    pub(super) fn add(&mut self, question: Q) {
        if !self.open.contains(&question) && self.get(&question).is_none() {
            self.open.push(question);
        }
    }

    /// Answers what was added since, on all cores.
    pub(super) fn answer(&mut self, answer: impl Fn(&Q) -> A + Sync) {
        let open = std::mem::take(&mut self.open);
        let answers = open.into_par_iter().map(|question| {
            let answer = answer(&question);
            (question, answer)
        });
        self.answered.extend(answers.collect::<Vec<_>>());
    }

    /// The answer to a question.
    pub(super) fn get(&self, question: &Q) -> Option<&A> {
        self.answered.iter().find(|(known, _)| known == question).map(|(_, answer)| answer)
    }

    /// All answers, in the order in which they were asked for.
    pub(super) fn answers(&self) -> impl Iterator<Item = &A> {
        self.answered.iter().map(|(_, answer)| answer)
    }
}
