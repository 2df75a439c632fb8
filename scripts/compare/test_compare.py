#!/usr/bin/env -S python3 -B
"""Tests of what the comparison computes by itself: run by `make test`, with the standard library alone."""

import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import answers  # noqa: E402
import bars  # noqa: E402
import charts  # noqa: E402
import page  # noqa: E402
import place  # noqa: E402
import process  # noqa: E402
import results  # noqa: E402
from peers import PEERS_ALL  # noqa: E402
from works import WORKS  # noqa: E402

LINES = [
    "10.0.0.1 2026-01-01T00:00:59Z GET /a 404 128B 1ms user-1 search",
    "10.0.0.1 2026-01-01T00:01:00Z GET /a 500 128B 1ms user-1 search",
    "10.0.0.1 2026-01-01T00:01:30Z GET /a 200 128B 1ms user-1 search",
]


def usage(cpu, wall=1.0, rss_mib=100.0):
    return {"cpu": cpu, "wall": wall, "rss_mib": rss_mib}


def run(work, peer, cpu, outcome="equal"):
    return {"work": work, "peer": peer, "outcome": outcome, "why": "a|b", "usages": [usage(cpu)], "command": ["run", "it"]}


def found(runs):
    size = place.size(1000, 1000, quick=True)
    machine = {name: "x" for name in ("processor", "caches", "memory", "hypervisor", "system")}
    truth = {"distinct": 7, "file_bytes": 2**30, "file_distinct": 9}
    head = {"machine": machine, "versions": {"Kafka": "4"}, "size": vars(size), "truth": truth}
    return {**head, "runs": runs, "latency": [], "threads": []}


class Answers(unittest.TestCase):
    def test_the_order_of_rows_does_not_matter_and_each_row_does(self):
        self.assertEqual(answers.digest(["a\t1", "b\t2"]), answers.digest(["b\t2", "a\t1"]))
        self.assertNotEqual(answers.digest(["a\t1", "b\t2"]), answers.digest(["a\t1", "b\t3"]))
        self.assertNotEqual(answers.digest(["a\t1"]), answers.digest(["a\t1", "a\t1"]))

    def test_the_truth_is_of_the_first_lines_and_of_the_whole_file(self):
        with tempfile.TemporaryDirectory() as folder:
            file, answer = Path(folder, "lines.log"), Path(folder, "counts.tsv")
            file.write_text("\n".join(LINES) + "\n")
            truth = answers.truth(file, 2, Path(folder, "cache.json"))
            Path(folder, "cache.json").write_text(Path(folder, "cache.json").read_text().replace(truth["words"], "kept"))
            self.assertEqual("kept", answers.truth(file, 2, Path(folder, "cache.json"))["words"], "of the same bytes")
            file.write_text("\n".join(LINES) + " \n")
            self.assertEqual(truth["words"], answers.truth(file, 2, Path(folder, "cache.json"))["words"], "of others")
            self.assertEqual(truth["window"], answers.truth(file, 2, Path(folder, "cache.json"))["window"])
            answer.write_text("2026-01-01 00:01:00.000Z,500,search,1\n2026-01-01T00:00:00Z\t404\tsearch\t1\n")
            self.assertEqual(truth["window"], answers.window_digest(answer))
            answer.write_text("2026-01-01 00:01:00.000Z,500,search,2\n2026-01-01T00:00:00Z\t404\tsearch\t1\n")
            self.assertNotEqual(truth["window"], answers.window_digest(answer))
            whole = {}
            for word in " ".join(LINES).split(" "):
                whole[word] = whole.get(word, 0) + 1
            answer.write_text("".join(f"{word}\t{count}\n" for word, count in whole.items()))
            self.assertEqual(truth["file_words"], answers.words_digest(answer))
            self.assertNotEqual(truth["words"], answers.words_digest(answer))


    def test_of_changes_the_last_count_of_a_word_holds(self):
        with tempfile.TemporaryDirectory() as folder:
            changes = Path(folder, "changes.tsv")
            changes.write_text("a\t1\nb\t1\na\t3\n")
            self.assertEqual(answers.changes_digest(changes), answers.digest(["a\t3", "b\t1"]))


class Figures(unittest.TestCase):
    def test_the_median_is_a_value_that_was_measured(self):
        self.assertEqual([results.median([3, 1, 2]), results.median([2, 1]), results.median([5])], [2, 1, 5])

    def test_a_goal_is_judged_by_the_right_answers_alone(self):
        runs = [run("words", "millstream", 2), run("words", "spark", 90), run("words", "flink", 10, "wrong")]
        said = {text: (value, reached) for text, value, _, reached in bars.statements(found(runs))}
        self.assertEqual(said["word count of a topic: beside Spark Structured Streaming"], ("1/45", True))
        self.assertNotIn("word count of a topic: beside Flink", said)

    def test_the_usage_of_a_process_is_that_of_its_children_too(self):
        with tempfile.TemporaryDirectory() as folder:
            burn = "import time\nwhile time.process_time() < 0.3: pass"
            used = process.measure(["sh", "-c", f"{sys.executable} -c '{burn}'; true"], Path(folder, "log"), 60)
            self.assertGreater(used.cpu, 0.29)

    def test_a_process_that_fails_or_does_not_end_is_a_failure_that_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "log")
            with self.assertRaisesRegex(process.Failure, "exit code 3: an Error of its own"):
                process.measure(["sh", "-c", "echo an Error of its own >&2; exit 3"], log, 60)
            with self.assertRaisesRegex(process.Failure, "no end within"):
                process.measure(["sleep", "600"], log, 0.05)


class Page(unittest.TestCase):
    def test_wrong_answers_and_missing_peers_are_shown_and_better_ones_named(self):
        runs = [run("words", "millstream", 2), run("words", "spark", 1), run("words", "flink", 9, "wrong")]
        runs.append({**run("words", "streams", 0, "skipped"), "usages": [], "command": []})
        with tempfile.TemporaryDirectory() as folder:
            page.write(found(runs), Path(folder))
            text = Path(folder, "BENCHMARKS.md").read_text()
            chart = Path(folder, page.CHARTS, "words.svg").read_text()
        self.assertIn("| Flink | 9 |  | 1 | 100 | **wrong**: a/b |", text)
        self.assertIn("| Kafka Streams | | | | | skipped: a/b |", text)
        self.assertIn("Better than Millstream: less processor time: Spark.", text)
        self.assertNotIn("Flink", chart)

    def test_a_work_over_a_file_says_how_large_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            page.write(found([run("words", "millstream", 2), run("file", "millstream", 3)]), Path(folder))
            text = Path(folder, "BENCHMARKS.md").read_text()
        self.assertEqual(text.count("It has 1,024 MiB, 9 distinct words."), 1)

    def test_a_chart_is_xml_whose_longest_bar_is_the_largest_value(self):
        chart = xml.fromstring(charts.bars("a < b", "s", [("x & y", 1, "1 s", True), ("z", 4, "4 s", False)]))
        widths = [float(bar.get("width")) for bar in chart.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertAlmostEqual(widths[1] / widths[0], 4, places=2)


class Registries(unittest.TestCase):
    def test_every_work_of_a_peer_is_known(self):
        known = {work.name for work in WORKS}
        self.assertEqual([peer.name for peer in PEERS_ALL if not known.issuperset(peer.works)], [])


if __name__ == "__main__":
    unittest.main()
