"""Folders, links, globs, splits and saved datasets; and what of them is not read, counted."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfc.config import UserError
from tests.corpus.written import counted, said, source, write


class TestFolders:
    def test_strays_of_datasets_are_no_dataset(self, tmp_path: Path) -> None:
        for name in ("dataset_info.json", "state.json", "dataset_infos.json"):
            (tmp_path / name).write_text('{"text": "about"}')
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        assert said(source(tmp_path)) == ["text: one"]
        assert counted(source(tmp_path))["s"].rows == {"about the dataset": 3}

    def cloned(self, folder: Path, card: str) -> Path:
        (folder / "data").mkdir()
        (folder / ".git").mkdir()
        (folder / "README.md").write_text(card)
        for split in ("train", "test"):
            pq.write_table(pa.table({"text": [split]}), folder / "data" / f"{split}-00000-of-00001.parquet")
        return folder

    @pytest.mark.parametrize("card", ["# A dataset", "---\nlicense: mit\n---\n# A dataset"])
    def test_a_cloned_dataset_has_splits_and_its_card_is_no_document(self, card: str, tmp_path: Path) -> None:
        folder = self.cloned(tmp_path, card)
        assert said(source(folder)) == ["text: train"]
        assert said(source(folder, split="test")) == ["text: test"]
        assert counted(source(folder))["s"].rows == {"hidden": 1, "about the dataset": 1, "other split": 1}
        with pytest.raises(UserError, match=r"has no split `dev`; set `split` to one of test, train\."):
            said(source(folder, split="dev"))

    def test_a_card_names_the_files_of_its_configurations(self, tmp_path: Path) -> None:
        configs = (
            "- {config_name: small, data_files: data/test-*}\n"
            "- {config_name: large, data_files: [{split: train, path: ['data/train-*', '../*']}]}\n"
        )
        folder = self.cloned(tmp_path, f"---\nconfigs:\n{configs}---\n")
        assert said(source(folder, subset="small")) == ["text: test"]
        assert said(source(folder, subset="large")) == ["text: train"]
        assert counted(source(folder, subset="small"))["s"].rows == {
            "hidden": 1,
            "about the dataset": 1,  # the card
            "other subset": 1,  # and what another configuration has
        }
        with pytest.raises(UserError, match="several configurations; set `subset` to one of small, large"):
            said(source(folder))

    @pytest.mark.parametrize("pattern", ["data/**", "**", "**.jsonl", "data/**train**", "**/train*", "./data/train*"])
    def test_patterns_of_a_card_may_mean_all_that_is_below(self, pattern: str, tmp_path: Path) -> None:
        (tmp_path / "data" / "deep").mkdir(parents=True)
        write(tmp_path / "data" / "train.jsonl", [{"text": "near"}])
        write(tmp_path / "data" / "deep" / "other.jsonl", [{"text": "deep"}])
        (tmp_path / "README.md").write_text(f"---\nconfigs:\n- {{data_files: '{pattern}'}}\n---\n")
        assert said(source(tmp_path)) == ["text: deep"] * ("train" not in pattern) + ["text: near"]

    def test_an_option_without_effect_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", [{"text": "one"}])
        for options in ({"split": "test"}, {"subset": "small"}):
            with pytest.raises(
                UserError, match=r"no dataset with (splits|subsets), so that `\w+: \w+` has no effect; take it out"
            ):
                said(source(path, **options))

    def test_an_object_has_splits_or_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps({"train": [{"text": "1"}], "test": [{"text": "2"}, {"text": "3"}]}))
        assert said(source(tmp_path / "a.json", split="test")) == ["text: 2", "text: 3"]
        assert counted(source(tmp_path / "a.json"))["s"].rows == {"other split": 1}
        with pytest.raises(UserError, match=r"a\.json: has no split `dev`; set `split` to one of train, test"):
            said(source(tmp_path / "a.json", split="dev"))
        for content in ([{"text": "1"}], {"text": "1"}):
            (tmp_path / "b.json").write_text(json.dumps(content))
            with pytest.raises(UserError, match="`split: test` has no effect"):
                said(source(tmp_path / "b.json", split="test"))

    def test_files_of_other_kinds_are_named(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        for name in ("b.tar.gz", "c.pdf", "LICENSE"):
            (tmp_path / name).write_bytes(b"x")
        left_out = counted(source(tmp_path))["s"]
        assert left_out.rows == {"not read": 3}
        assert left_out.in_words(source(tmp_path).sources[0]) == (
            "3 files of a kind that is not read, the first at LICENSE (LICENSE)"
        )

    def test_links_are_followed_and_each_folder_is_read_once(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
        write(tmp_path / "elsewhere" / "deep" / "a.jsonl", [{"text": "one"}])
        folder = tmp_path / "folder"
        folder.mkdir()
        write(folder / "b.jsonl", [{"text": "two"}])
        (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "elsewhere" / "round").symlink_to(folder, target_is_directory=True)
        (folder / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
        (folder / ".hidden.txt").write_text("hidden")
        assert said(source(folder)) == ["text: one", "text: two"]
        left_out = counted(source(folder))["s"]
        assert left_out.rows == {"folder": 1, "not read": 1, "hidden": 1}
        assert left_out.first == {"folder": "link/round", "not read": "gone.txt", "hidden": ".hidden.txt"}
        assert left_out.found == {"folder": "a link to what is read already", "not read": "a link to nothing"}

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.jsonl", ""),
            ("a.jsonl", "\n \n"),
            ("a.json", "[]"),
            ("a.csv", "text,id\n"),
            ("a.csv", ""),
            ("a.json", ""),
        ],
    )
    def test_files_without_a_row_are_counted(self, name: str, content: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text(content)
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        assert said(source(tmp_path)) == ["text: one"]
        assert counted(source(tmp_path))["s"].rows == {"empty": 1}
        assert counted(source(tmp_path))["s"].first == {"empty": name}

    def test_tables_without_a_row_are_counted(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        assert counted(source(tmp_path))["s"].rows == {"empty": 1}

    def test_what_a_glob_does_not_go_into_is_counted(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        (tmp_path / "deep").mkdir()
        write(tmp_path / "deep" / "b.jsonl", [{"text": "two"}])
        datasets.Dataset.from_list([{"text": "three"}]).save_to_disk(tmp_path / "saved")
        assert said(source(tmp_path / "*")) == ["text: one", "text: three"]
        assert counted(source(tmp_path / "*"))["s"].rows == {"folder": 1}
        assert counted(source(tmp_path / "*"))["s"].first == {"folder": "deep"}
        assert said(source(tmp_path / "**")) == ["text: one", "text: three", "text: two"]
        assert counted(source(tmp_path / "**"))["s"].rows == {}

    def test_keys_beside_rows_are_counted(self, tmp_path: Path) -> None:
        content = {"version": 1, "data": [{"text": "1"}], "notes": ["a", "b"]}
        (tmp_path / "a.json").write_text(json.dumps(content))
        left_out = counted(source(tmp_path / "a.json"))["s"]
        assert left_out.rows == {"other key": 2}
        assert left_out.first["other key"] in ("a.json `version`", "a.json `notes`")

    def test_saved_datasets_below_a_folder_are_read_as_such(self, tmp_path: Path) -> None:
        parts = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / "deep" / "saved")
        datasets.Dataset.from_list([{"text": "one"}]).save_to_disk(tmp_path / "other")
        write(tmp_path / "a.jsonl", [{"text": "two"}])
        assert said(source(tmp_path)) == ["text: one", "text: train", "text: two"]
        assert counted(source(tmp_path))["s"].rows == {"other split": 1}
        assert counted(source(tmp_path))["s"].first == {"other split": "deep/saved `test`"}
        assert said(source(tmp_path / "deep", split="test")) == ["text: test"]
        with pytest.raises(UserError, match="`split: test` has no effect"):
            said(source(tmp_path, split="test"))  # not on the files beside it
        for path in (tmp_path / "deep", tmp_path / "deep" / "saved", tmp_path / "other"):
            with pytest.raises(UserError, match="`subset: small` has no effect"):
                said(source(path, subset="small"))

    def test_feathers_first_version_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.feather").write_bytes(b"FEA1\0\0\0\0")
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        left_out = counted(source(tmp_path))["s"]
        assert (left_out.rows, left_out.found["not read"]) == ({"not read": 1}, "Feather V1; write it as Parquet")

    def test_home_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        write(tmp_path / "a.jsonl", [{"text": "one"}])
        assert said(source(Path("~/a.jsonl"))) == said(source(Path("~/*.jsonl"))) == ["text: one"]
        with pytest.raises(UserError, match="no such file"):
            said(source(Path("~/b")))

    @pytest.mark.parametrize(
        ("train", "other", "split"),
        [
            ("data/dolly-train.jsonl", "data/dolly-test.jsonl", "test"),
            ("train_sft.jsonl", "test_sft.jsonl", "test"),
            ("train-v1.1.jsonl", "dev-v1.1.jsonl", "validation"),
            ("alpaca_train.jsonl", "alpaca_eval.jsonl", "test"),
        ],
    )
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_names_tell_splits_as_datasets_does(
        self, train: str, other: str, split: str, mark: str, tmp_path: Path
    ) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "README.md").write_text(f"{mark}---\nlicense: mit\n---\n# A dataset", encoding="utf-8")
        write(tmp_path / train, [{"text": "one"}])
        write(tmp_path / other, [{"text": "two"}])
        patterns = datasets.data_files.get_data_patterns(str(tmp_path))
        assert {str(name) for name in patterns} == {"train", split}
        assert said(source(tmp_path)) == ["text: one"]
        assert said(source(tmp_path, split=split)) == ["text: two"]
        assert counted(source(tmp_path))["s"].rows == {"about the dataset": 1, "other split": 1}

    def test_words_within_words_are_no_splits(self, tmp_path: Path) -> None:
        write(tmp_path / "trainers.jsonl", [{"text": "one"}])
        write(tmp_path / "contest.jsonl", [{"text": "two"}])
        assert sorted(said(source(tmp_path))) == ["text: one", "text: two"]

    @pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.parquet"])
    def test_a_pointer_of_git_lfs_is_named_and_no_document(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        write(tmp_path / "b.jsonl", [{"text": "one"}])
        assert said(source(tmp_path)) == ["text: one"]
        left_out = counted(source(tmp_path))["s"]
        assert left_out.rows == {"not read": 1}
        assert "git lfs pull" in left_out.found["not read"]

    @pytest.mark.parametrize("pattern", ["", ", data_files: '*.jsonl'"])
    def test_a_card_names_folders_and_its_default(self, pattern: str, tmp_path: Path) -> None:
        english = f"- {{config_name: english, data_dir: en{pattern}}}\n"
        german = f"- {{config_name: german, default: true, data_dir: de{pattern}}}\n"
        (tmp_path / "README.md").write_text(f"---\nconfigs:\n{english}{german}---\n")
        for name in ("en", "de"):
            (tmp_path / name).mkdir()
            write(tmp_path / name / "a.jsonl", [{"text": name}])
        assert said(source(tmp_path, subset="english")) == ["text: en"]
        assert said(source(tmp_path)) == ["text: de"]

    def test_a_card_that_names_nothing_that_is_read_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("---\nconfigs:\n- {config_name: default, data_files: data.zip}\n---\n")
        (tmp_path / "data.zip").write_bytes(b"PK")
        write(tmp_path / "a.jsonl", [{"text": "other"}])
        with pytest.raises(UserError, match="card names no file of a kind that is read for `default`"):
            said(source(tmp_path))

    def test_a_card_names_files_by_splits(self, tmp_path: Path) -> None:
        files = "{train: a.jsonl, test: b.jsonl}"
        (tmp_path / "README.md").write_text(f"---\nconfigs:\n- {{config_name: x, data_files: {files}}}\n---\n")
        write(tmp_path / "a.jsonl", [{"text": "a"}])
        write(tmp_path / "b.jsonl", [{"text": "b"}])
        assert said(source(tmp_path)) == ["text: a"]
        assert said(source(tmp_path, split="test")) == ["text: b"]
