"""Write docs/queries.md: what each of its queries prints on a run of the demo with three experiments.

    python docs/queries.py RUN

RUN is a clone in which `make run` has finished and these experiments were made, which only pair responses anew:

    git add --all && git commit --message "a run"
    STAGES="actor-pairs@m1 actor-pairs@m2 actor-pairs@m3 actor-pairs@m4"
    dvc exp run --single-item --name no-length-control --set-param rho=0.0 $STAGES
    dvc exp run --single-item --name some-length-control --set-param rho=0.2 $STAGES
    dvc exp run --single-item --name much-length-control --set-param rho=0.6 $STAGES
    git checkout . && dvc checkout

tests/test_queries.py runs every query of the page on a tiny run.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ("no-length-control", "some-length-control", "much-length-control")


@dataclass(frozen=True)
class Query:
    """A question, the SQL that answers it, and a sentence on what to look for.

    options: what the command is given beside the SQL where a single revision has no answer.
    """

    question: str
    sql: str
    note: str = ""
    options: str = ""


QUERIES = [
    Query(
        "Which prompts have the widest margin?",
        """
SELECT rev, iteration, margin, chosen_value, rejected_value, prompt
FROM pairs WHERE role = 'actor'
ORDER BY margin DESC, prompt LIMIT 5
""",
        "`role = 'judge'` asks it of judgments, whose margins are differences of Elo.",
    ),
    Query(
        "What does the judge score the longest responses?",
        """
SELECT rev, iteration, quarter, count(*) AS responses, avg(n_chars) AS chars, avg(mean) AS score
FROM (SELECT *, ntile(4) OVER (PARTITION BY rev, iteration ORDER BY n_chars) AS quarter FROM scores)
GROUP BY ALL ORDER BY ALL
""",
        "Quarter 4 holds the longest responses of an iteration.",
    ),
    Query(
        "Which chosen responses are longer than the rejected ones?",
        """
SELECT rev, iteration, count(*) AS pairs, count_if(chars_difference > 0) AS longer,
    avg(chars_difference) AS mean_difference
FROM pairs WHERE role = 'actor'
GROUP BY ALL ORDER BY ALL
""",
        "`SELECT * FROM pairs WHERE chars_difference > 0` lists them.",
    ),
    Query(
        "Which prompts make no pair, and why?",
        """
SELECT rev, iteration, role, outcome, count(*) AS prompts, any_value(prompt) AS for_one
FROM prompt_outcomes WHERE outcome <> 'pair'
GROUP BY ALL ORDER BY ALL
""",
        "The reasons are explained in [method.md](method.md).",
    ),
    Query(
        "Does the meta-judge prefer the higher score, and does it matter where that stands?",
        """
SELECT rev, iteration, if(difference > 0, 'first', 'second') AS higher_stands, count(*) AS battles,
    avg(higher_score_won::INT) AS higher_won
FROM battle_outcomes WHERE higher_score_won IS NOT NULL
GROUP BY ALL ORDER BY ALL
""",
    ),
    Query(
        "How many verdicts flip when the two judgments change places?",
        """
SELECT a.rev, a.iteration, count(*) AS decided_both_ways, count_if(a.winner = b.winner) AS flipped
FROM battles a JOIN battles b USING (rev, iteration, response_id)
WHERE a.judgment_a = b.judgment_b AND a.judgment_b = b.judgment_a AND a.judgment_a < a.judgment_b
    AND a.winner IS NOT NULL AND b.winner IS NOT NULL
GROUP BY ALL ORDER BY ALL
""",
        "The same place won twice: another judgment each time.",
    ),
    Query(
        "Does the longer judgment win?",
        """
SELECT rev, iteration, count(*) AS battles,
    avg((first_won = (chars_a > chars_b))::INT) AS longer_won
FROM battle_outcomes WHERE winner IS NOT NULL AND chars_a <> chars_b
GROUP BY ALL ORDER BY ALL
""",
        "None in the demo: a judgment there is a score alone, one character long.",
    ),
    Query(
        "How do scores drift from iteration to iteration?",
        """
SELECT rev, iteration, readable, score_mean, score_variance, score_at_maximum
FROM drift ORDER BY ALL
""",
    ),
    Query(
        "About which responses do the judgments disagree most?",
        """
SELECT rev, iteration, variance, list(score ORDER BY score) AS scores, any_value(response) AS response
FROM scores JOIN judgments USING (rev, iteration, response_id) JOIN responses USING (rev, iteration, response_id)
GROUP BY rev, iteration, response_id, variance
ORDER BY variance DESC, response LIMIT 5
""",
    ),
    Query(
        "What share of the judgments is invalid, and why?",
        """
SELECT rev, iteration, invalid_reason, count(*) AS judgments,
    count(*) / sum(count(*)) OVER (PARTITION BY rev, iteration) AS share
FROM judgments GROUP BY rev, iteration, invalid_reason ORDER BY ALL
""",
        "A judgment without a reason has a score.",
    ),
    Query(
        "How often does each checkpoint win against the seed?",
        """
SELECT rev, checkpoint, value AS win_rate, ci_low, ci_high, n, referee
FROM results WHERE metric = 'win_rate' ORDER BY ALL
""",
    ),
    Query(
        "How long are the responses of each checkpoint?",
        """
SELECT rev, checkpoint, value AS chars, ci_low, ci_high, n
FROM results WHERE metric = 'response_chars' ORDER BY ALL
""",
    ),
    Query(
        "In which pairs do two experiments differ?",
        """
SELECT a.rev, b.rev AS other, a.iteration, a.role, count(*) AS prompts,
    count_if(a.chosen_id <> b.chosen_id) AS other_chosen, count_if(a.pair_id = b.pair_id) AS same_pair
FROM pairs a JOIN pairs b USING (iteration, role, prompt_id)
WHERE a.rev < b.rev GROUP BY ALL ORDER BY ALL
""",
        "Of prompts that have a pair in both.",
        f"--rev workspace,{EXPERIMENTS[0]}",
    ),
    Query(
        "Which params differ between experiments?",
        """
SELECT name, list(rev || ': ' || value ORDER BY rev) AS of_each
FROM params GROUP BY name HAVING count(DISTINCT value) > 1 ORDER BY name
""",
        "",
        f"--rev workspace,{EXPERIMENTS[0]}",
    ),
]


def command(query: Query, options: str = "") -> str:
    """The one command that answers a question."""
    return " ".join(filter(None, ["metareward sql", options or query.options, f'"{query.sql.rstrip()}"']))


def printed(command: str, run: Path) -> str:
    """What a command prints in a terminal of 100 columns."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=run, env=environment, check=True, capture_output=True, text=True)
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())


def shown(command: str, run: Path) -> str:
    """A command and what it prints."""
    return f"```sh\n{command}\n```\n\n```\n{printed(command, run)}\n```\n"


def page(run: Path) -> str:
    questions = [
        f"### {query.question}\n\n{shown(command(query), run)}" + (f"\n{query.note}\n" if query.note else "")
        for query in QUERIES
    ]
    lengths = next(query for query in QUERIES if "AS longer," in query.sql)
    several = shown(command(lengths, f"--rev {','.join(EXPERIMENTS)}"), run)
    widest = "SELECT pair_id FROM pairs WHERE role = 'actor' ORDER BY margin DESC, pair_id"
    pair = json.loads(printed(f'metareward sql --json "{widest}"', run))[0]["pair_id"]
    trace = shown(f"metareward trace {pair[:6]}", run)
    return "\n".join([HEAD, *questions, SEVERAL + several, ELSEWHERE, TRACE + trace + AFTER_TRACE])


HEAD = """# Ask a run anything

Made by `python docs/queries.py RUN`; what is printed is of a run of the demo on two cores of an AMD EPYC with
AVX512-BF16, in a terminal of 100 columns, with three experiments that pair responses by another rho. Other processors
draw other texts. `tests/test_queries.py` runs every query.

`metareward sql` reads the tables of a run with [DuckDB](https://duckdb.org/docs/stable/sql/introduction), and writes
nothing. There is a view for each table, with `rev` (`workspace`, or the revision that it comes from) and `iteration` or
`checkpoint` before its columns, and views that join what is often asked for together: `pairs`, `prompt_outcomes`,
`battle_outcomes`, `battle_sides`, `drift`. `metareward sql --schema` describes them all, column by column. Joins are
written `USING (rev, iteration, prompt_id)`, so that they hold for one revision and for many.

- [A dozen questions](#a-dozen-questions)
- [Commits and experiments](#commits-and-experiments)
- [The prompt, notebooks, DuckDB's own shell](#the-prompt-notebooks-duckdbs-own-shell)
- [Where one row comes from](#where-one-row-comes-from)

## A dozen questions
"""

SEVERAL = """## Commits and experiments

`--rev HEAD`, `--rev no-length-control`, `--rev HEAD,HEAD~3`, `--experiments` (all of them): the same query over any
revision whose tables are in DVC's cache. Nothing is checked out. `--rev workspace,HEAD` sets the working tree beside
it.

"""

ELSEWHERE = """## The prompt, notebooks, DuckDB's own shell

`metareward sql` alone opens a prompt: a query ends in a semicolon, the arrow keys bring back earlier ones, Ctrl-D
leaves. `--csv`, `--json`, `--markdown` and `--parquet FILE` write the rows of one query for other tools.

The same views in a notebook, from the folder of the run:

```python
from metareward.query import connect

connection = connect(["workspace", "no-length-control"])
pairs = connection.sql("SELECT * FROM pairs WHERE iteration = 'm1'").pl()  # a Polars frame; .df() makes one of pandas
```

`metareward sql --database run.duckdb` writes these views into a database for DuckDB's own shell and browser
(`duckdb -ui run.duckdb`). It holds no rows: it reads the tables where they lie.
"""

TRACE = """## Where one row comes from

`metareward trace ID` tells the lineage of a pair, battle, judgment, response or prompt; the beginning of its id is
enough. The tree goes from the prompt down to both pairs, with texts along the way to what was asked for. It says of
each response how it stands to the bounds that rho set, and of each judgment its Elo and what it won.

"""

AFTER_TRACE = """
`--full` prints whole texts, `--json` the tree with all numbers, `--rev` looks in a commit or an experiment. What
contradicts itself in a table (a judgment without its response, an id that stands twice) is marked `BROKEN` and not
followed. Control characters and characters that turn the writing are shown as escapes.
"""


if __name__ == "__main__":
    (ROOT / "docs/queries.md").write_text(page(Path(sys.argv[1])))
