"""Views for what people ask, over the views of a run's tables: joins that one would write again and again.

Each has `rev` and `iteration` first. None sorts or groups texts, and a filter on any of them reaches the files, so
they cost what the columns cost that a query names.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadyMade:
    """about: what a row is; columns: name -> what it holds, in order; sql: over base views and the ones above."""

    about: str
    columns: dict[str, str]
    sql: str


_OF = {"rev": "where the row comes from: workspace, a revision, an experiment", "iteration": "m1, m2, ..."}

READY_MADE: dict[str, ReadyMade] = {
    "pairs": ReadyMade(
        "a preference pair, of responses or of judgments",
        _OF
        | {
            "role": "actor: two responses to a prompt; judge: two judgments of a response",
            "pair_id": "the pair",
            "prompt_id": "its prompt",
            "prompt": "the prompt's text",
            "response_id": "judge: the response that is judged; actor: null",
            "chosen": "the text that training prefers",
            "rejected": "the other text",
            "chosen_id": "actor: a response_id; judge: a judgment_id",
            "rejected_id": "the same of the rejected text",
            "chosen_value": "actor: mean score, in points; judge: Elo, in natural logarithms",
            "rejected_value": "the same of the rejected text",
            "margin": "chosen_value - rejected_value",
            "chosen_chars": "characters of chosen",
            "rejected_chars": "characters of rejected",
            "chars_difference": "chosen_chars - rejected_chars: above 0, the longer text was chosen",
            "chosen_finish": "how chosen ended: stop, or length where it was cut",
            "rejected_finish": "the same of rejected",
        },
        """
        SELECT rev, iteration, 'actor' AS role, pair_id, prompt_id, prompt, NULL::VARCHAR AS response_id,
            chosen, rejected, chosen_id, rejected_id, chosen_score AS chosen_value, rejected_score AS rejected_value,
            margin, chosen_chars, rejected_chars, chosen_chars - rejected_chars AS chars_difference,
            chosen_finish, rejected_finish
        FROM actor_pairs LEFT JOIN prompts USING (rev, iteration, prompt_id)
        UNION ALL
        SELECT rev, iteration, 'judge', pair_id, prompt_id, prompt, response_id,
            chosen, rejected, chosen_id, rejected_id, chosen_elo, rejected_elo,
            margin, chosen_chars, rejected_chars, chosen_chars - rejected_chars,
            chosen_finish, rejected_finish
        FROM judge_pairs LEFT JOIN prompts USING (rev, iteration, prompt_id)
        """,
    ),
    "prompt_outcomes": ReadyMade(
        "what became of a prompt in a role: each prompt of an iteration once as actor, once as judge",
        _OF
        | {
            "role": "actor, judge",
            "prompt_id": "the prompt",
            "prompt": "its text",
            "source": "its category, or the name of its file",
            "outcome": "pair, or the reason why there is none; null: its pairs are not selected yet",
            "pair_id": "the pair; null: none",
            "reason": "why there is none (docs/method.md); null: there is one",
        },
        """
        SELECT rev, iteration, role, prompt_id, prompt, source,
            CASE WHEN pair_id IS NOT NULL THEN 'pair' ELSE reason END AS outcome, pair_id, reason
        FROM (SELECT * FROM prompts, (VALUES ('actor'), ('judge')) AS roles(role))
        LEFT JOIN (
            SELECT rev, iteration, 'actor' AS role, prompt_id, pair_id FROM actor_pairs
            UNION ALL SELECT rev, iteration, 'judge', prompt_id, pair_id FROM judge_pairs
        ) USING (rev, iteration, role, prompt_id)
        LEFT JOIN no_pairs USING (rev, iteration, role, prompt_id)
        """,
    ),
    "battle_outcomes": ReadyMade(
        "a battle with scores and texts of both judgments",
        _OF
        | {
            "prompt_id": "the prompt",
            "response_id": "the response that both judge",
            "battle_id": "the battle",
            "judgment_a": "judgment_id of the one that is shown first",
            "judgment_b": "judgment_id of the one that is shown second",
            "text_a": "what judgment_a says",
            "text_b": "what judgment_b says",
            "score_a": "the score that judgment_a gives, in points",
            "score_b": "the score that judgment_b gives",
            "chars_a": "characters of judgment_a",
            "chars_b": "characters of judgment_b",
            "difference": "score_a - score_b",
            "winner": "a, b, or null: a tie or an unreadable verdict",
            "winner_id": "judgment_id of the winner",
            "first_won": "whether the one shown first won; null: nobody did",
            "higher_score_won": "whether the higher score won; null: nobody did, or the scores are equal",
            "invalid_reason": "why the verdict cannot be read",
            "meta_judgment": "the verdict's text",
        },
        """
        SELECT rev, iteration, prompt_id, response_id, battle_id, judgment_a, judgment_b, text_a, text_b,
            score_a, score_b, chars_a, chars_b, round(score_a - score_b, 6) AS difference, winner,
            CASE winner WHEN 'a' THEN judgment_a WHEN 'b' THEN judgment_b END AS winner_id,
            winner = 'a' AS first_won,
            CASE WHEN round(score_a - score_b, 6) <> 0 THEN (score_a > score_b) = (winner = 'a') END
                AS higher_score_won,
            invalid_reason, meta_judgment
        FROM battles
        LEFT JOIN (
            SELECT rev, iteration, prompt_id, response_id, judgment_id AS judgment_a, judgment AS text_a,
                score AS score_a, n_chars AS chars_a
            FROM judgments
        ) USING (rev, iteration, prompt_id, response_id, judgment_a)
        LEFT JOIN (
            SELECT rev, iteration, prompt_id, response_id, judgment_id AS judgment_b, judgment AS text_b,
                score AS score_b, n_chars AS chars_b
            FROM judgments
        ) USING (rev, iteration, prompt_id, response_id, judgment_b)
        """,
    ),
    "battle_sides": ReadyMade(
        "a battle as one of its two judgments sees it: two rows a battle",
        _OF
        | {
            "prompt_id": "the prompt",
            "response_id": "the response that both judge",
            "battle_id": "the battle",
            "judgment_id": "the judgment",
            "opponent_id": "judgment_id of the other one",
            "position": "where the judgment stood: first, second",
            "won": "whether it won; null: nobody did",
        },
        """
        SELECT rev, iteration, prompt_id, response_id, battle_id, judgment_a AS judgment_id, judgment_b AS opponent_id,
            'first' AS position, winner = 'a' AS won
        FROM battles
        UNION ALL
        SELECT rev, iteration, prompt_id, response_id, battle_id, judgment_b, judgment_a, 'second', winner = 'b'
        FROM battles
        """,
    ),
    "drift": ReadyMade(
        "an iteration: how scores and lengths move from one to the next",
        _OF
        | {
            "judgments": "judgments of its responses",
            "readable": "share of them with a score",
            "score_mean": "mean of the scores, in points",
            "score_variance": "their population variance, in points squared",
            "score_at_maximum": "share of the scores that are 5; null: they are a reward model's",
            "response_chars": "mean characters of the responses that were written",
            "judgment_chars": "the same of the judgments",
            "chosen_chars": "mean characters of the chosen responses of pairs",
            "rejected_chars": "the same of the rejected ones",
            "chosen_judgment_chars": "mean characters of the chosen judgments of pairs",
            "rejected_judgment_chars": "the same of the rejected ones",
        },
        """
        SELECT rev, iteration, coalesce(judgments, 0) AS judgments, readable, score_mean, score_variance,
            score_at_maximum, response_chars, judgment_chars, chosen_chars, rejected_chars, chosen_judgment_chars,
            rejected_judgment_chars
        FROM (
            SELECT rev, iteration, avg(n_chars) FILTER (finish_reason <> 'too_long'
                AND NOT (n_chars = 0 AND thought IS NOT NULL)) AS response_chars
            FROM responses GROUP BY ALL
        ) LEFT JOIN (
            SELECT rev, iteration, count(*) AS judgments, count(score) / count(*) AS readable,
                avg(score) AS score_mean, var_pop(score) AS score_variance,
                count_if(score = 5) / nullif(count(score) FILTER (finish_reason <> 'scored'), 0) AS score_at_maximum,
                avg(n_chars) FILTER (finish_reason NOT IN ('too_long', 'scored')
                    AND NOT (n_chars = 0 AND thought IS NOT NULL)) AS judgment_chars
            FROM judgments GROUP BY ALL
        ) USING (rev, iteration) LEFT JOIN (
            SELECT rev, iteration, avg(chosen_chars) AS chosen_chars, avg(rejected_chars) AS rejected_chars
            FROM actor_pairs GROUP BY ALL
        ) USING (rev, iteration) LEFT JOIN (
            SELECT rev, iteration, avg(chosen_chars) AS chosen_judgment_chars,
                avg(rejected_chars) AS rejected_judgment_chars
            FROM judge_pairs GROUP BY ALL
        ) USING (rev, iteration)
        """,
    ),
}
