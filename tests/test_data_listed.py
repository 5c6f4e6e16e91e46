"""Labels that a list beside the pictures states."""

import json

import pytest
from test_data_folders import catalog_of, classes, fill, parts, reasons

from sagan.config import DataConfig
from sagan.data.catalog import in_split
from sagan.data.sources.folder import picture_list
from sagan.errors import SaganError

PETS = {"1.png": "cat", "2.png": "dog", "3.png": "cat"}


def listed(root, name, content, **settings):
    fill(root, "1.png", "2.png", "3.png", (name, content))
    return catalog_of(root, **settings)


# --- every kind of list


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", "file,label\n1.png,cat\n2.png,dog\n3.png,cat\n"),
        ("labels.csv", "1.png,cat\n2.png,dog\n3.png,cat\n"),
        ("labels.csv", "\ufefffile;label\r\n1.png;cat\r\n2.png;dog\r\n3.png;cat\r\n"),
        ("labels.csv", 'label,file\n"cat",.\\1.png\n"dog",.\\2.png\ncat,.\\3.png'),
        ("anything.tsv", "id\tsize\tClass\n1\t8\tcat\n2\t9\tdog\n3\t8\tcat\n"),
        ("train.txt", "1.png cat\n2.png dog\n3.png cat\n"),
        ("labels.csv", ",file,label\n0,1.jpg,cat\n1,2.jpg,dog\n2,/data/x/3.jpg,cat\n"),
        ("labels.csv", "file,label\n1.png,cat\n2.png,dog\n3.png,cat\n".encode("utf-16")),
        ("metadata.csv", "file_name,label,text\n1.png,cat,A\n2.png,dog,B\n3.png,cat,C\n"),
        (
            "metadata.jsonl",
            '{"file_name": "1.png", "category": "cat"}\n\n{"category": "dog", "file_name": "2.png"}'
            '\n{"file_name": "3.png", "category": "cat", "more": [1]}\n',
        ),
        (
            "dataset.json",
            json.dumps({"labels": [["1.png", "cat"], ["2.png", "dog"], ["3.png", "cat"]]}),
        ),
    ],
)
def test_lists_of_every_kind(tmp_path, name, content):
    found = listed(tmp_path, name, content)
    assert classes(found) == PETS
    assert found.kind == f"a folder with classes from {name}"
    assert found.passed_over == []


def test_stylegan(tmp_path):
    fill(tmp_path, "00000/img0.png", "00000/img1.png", "00001/img2.png")
    labels = [["00000/img0.png", 10], ["00000/img1.png", 2], ["00001/img2.png", 10]]
    fill(tmp_path, ("dataset.json", json.dumps({"labels": labels})))
    found = catalog_of(tmp_path)
    assert found.class_names == ("2", "10")
    assert found.labels.tolist() == [1, 0, 1]
    fill(tmp_path, ("dataset.json", '{"labels": null}'))
    assert catalog_of(tmp_path).class_names == ()


def test_another_dataset_json_is_no_list(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png", ("dataset.json", '{"images": []}'))
    assert catalog_of(tmp_path).class_names == ("a", "b")


def test_hugging_face_with_parts(tmp_path):
    for part, label in (("train", "x"), ("test", "y")):
        fill(tmp_path, f"{part}/1.png", f"{part}/2.png")
        fill(tmp_path, (f"{part}/metadata.csv", f"file_name,label\n1.png,{label}\n2.png,z\n"))
    found = catalog_of(tmp_path)
    assert classes(found) == {
        "test/1.png": "y",
        "test/2.png": "z",
        "train/1.png": "x",
        "train/2.png": "z",
    }
    assert found.splits == ("train", "test")


def test_a_list_for_each_part_at_the_top(tmp_path):
    fill(tmp_path, "train/1.png", "train/2.png", "test/7.png")
    fill(tmp_path, ("labels.csv", "id,breed\n1,pug\n2,boxer\n"), ("submission.csv", "id,p\n7,0\n"))
    found = catalog_of(tmp_path)
    assert in_split(found, "").class_names == ("boxer", "pug")
    assert in_split(found, "").labels.tolist() == [1, 0]


def test_a_column_of_parts(tmp_path):
    content = "file,label,data set\n1.png,a,train\n2.png,b,train\n3.png,a,valid\n"
    found = listed(tmp_path, "birds.csv", content)
    assert parts(found) == {"1.png": "train", "2.png": "train", "3.png": "val"}
    assert found.class_names == ("a", "b")


@pytest.mark.parametrize("suffix", ["txt", "csv"])
@pytest.mark.parametrize("place", ["img_align_celeba", "Img/img_align_celeba", "x/x"])
def test_celeba(tmp_path, suffix, place):
    fill(tmp_path, *(f"{place}/00000{number}.jpg" for number in (1, 2, 3)))
    attributes, partition = "Smiling Young", ""
    if suffix == "txt":
        attributes = "3\nSmiling Young \n000001.jpg  1 -1\n000002.jpg -1  1\n000003.jpg  1  1\n"
        partition = "000001.jpg 0\n000002.jpg 1\n000003.jpg 0\n"
    else:
        attributes = "image_id,Smiling,Young\n000001.jpg,1,-1\n000002.jpg,-1,1\n000003.jpg,1,1\n"
        partition = "image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,0\n"
    folder = "Anno/" if place.startswith("Img") else ""
    fill(tmp_path, (f"{folder}list_attr_celeba.{suffix}", attributes))
    fill(tmp_path, (f"{folder}list_eval_partition.{suffix}", partition))
    fill(tmp_path, ("list_bbox_celeba.csv", "image_id,x\n000001.jpg,3.5\n"))
    plain = catalog_of(tmp_path)
    assert plain.class_names == ()
    assert any("(Smiling, Young); choose one with --data.label" in note for note in plain.notes)
    assert plain.splits == ("train", "val")
    assert len(in_split(plain, "")) == 2
    young = catalog_of(tmp_path, label="young")
    assert young.class_names == ("not Young", "Young")
    assert young.labels.tolist() == [0, 1, 1]
    with pytest.raises(SaganError, match=r"called 'Smilin' \(did you mean Smiling\?\); the lists"):
        catalog_of(tmp_path, label="Smilin")


# --- lists and folders together


def test_a_list_of_most_pictures_wins_over_folders(tmp_path):
    fill(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    fill(tmp_path, ("labels.csv", "file,label\n1.png,x\n2.png,y\n4.png,y\n"))
    found = catalog_of(tmp_path)
    assert classes(found) == {"a/1.png": "x", "a/2.png": "y"}
    assert reasons(found) == {
        "b/3.png": "without a label in labels.csv",
        "4.png": "listed in labels.csv, but absent",
    }
    assert found.notes == [
        "classes are those of labels.csv, not the folders",
        "1 of 3 pictures are left out: without a label in labels.csv",
    ]


def test_a_list_of_few_pictures_does_not(tmp_path):
    fill(tmp_path, *(f"{kind}/{number}.png" for kind in "ab" for number in range(5)))
    fill(tmp_path, ("labels.csv", "file,label\na/1.png,x\nb/7.png,y\n"))
    found = catalog_of(tmp_path)
    assert found.class_names == ("a", "b")
    assert found.notes == ["labels.csv names 10.0% of the pictures, so that the folders count"]
    assert len(found.passed_over) == 0


def test_a_list_counts_where_its_column_is_chosen(tmp_path):
    fill(tmp_path, *(f"{kind}/{number}.png" for kind in "ab" for number in range(5)))
    fill(tmp_path, ("labels.csv", "file,colour\na/1.png,red\nb/2.png,blue\n"))
    found = catalog_of(tmp_path, label="Colour")
    assert classes(found) == {"a/1.png": "red", "b/2.png": "blue"}
    assert len(found.passed_over) == 8


def test_names_that_several_pictures_have_are_not_guessed(tmp_path):
    fill(tmp_path, "x/1.png", "y/1.png", "y/2.png", ("labels.csv", "1.png,a\n2.png,b\ny/1.png,c\n"))
    assert classes(catalog_of(tmp_path)) == {"y/1.png": "c", "y/2.png": "b"}


def test_numbers_in_another_column_are_not_taken_for_files(tmp_path):
    fill(tmp_path, *(f"{number}.png" for number in range(30)))
    rows = "".join(f"{number % 3},{number}.png\n" for number in range(30))
    found = catalog_of(fill(tmp_path, ("labels.csv", rows)))
    assert found.class_names == ("0", "1", "2")
    assert found.labels[found.names.index("7.png")] == 1


def test_pictures_without_a_label_are_passed_over(tmp_path):
    found = listed(tmp_path, "labels.csv", "file,label\n1.png,a\n2.png,\n3.png,b\n")
    assert classes(found) == {"1.png": "a", "3.png": "b"}
    assert found.passed_over == [("2.png", "without a label in labels.csv")]


def test_whole_numbers_may_be_written_with_a_point(tmp_path):
    found = listed(tmp_path, "labels.csv", "file,label\n1.png,10.0\n2.png,9.0\n3.png,10\n")
    assert found.class_names == ("9", "10")


def test_a_picture_that_is_listed_twice(tmp_path):
    found = listed(tmp_path, "labels.csv", "1.png,a\n2.png,b\n3.png,a\n1.png,b\n")
    assert classes(found)["1.png"] == "b"
    assert found.notes == ["1 pictures have two classes in labels.csv; the last one counts"]


def test_captions_are_no_classes_unless_told(tmp_path):
    fill(tmp_path, *(f"{number}.png" for number in range(30)))
    rows = "".join(f"{number}.png,picture no. {number}\n" for number in range(30))
    fill(tmp_path, ("metadata.csv", "file_name,text\n" + rows))
    found = catalog_of(tmp_path)
    assert found.class_names == ()
    assert "differs for most pictures" in found.notes[0]
    assert len(catalog_of(tmp_path, label="text").class_names) == 30


# --- choices and refusals


MANY = "file,breed,age\n1.png,pug,3\n2.png,boxer,4\n3.png,pug,3\n"


def test_one_of_several_columns_is_chosen(tmp_path):
    with pytest.raises(
        SaganError, match=r"labels.csv has several columns \(breed, age\).*--data.l"
    ):
        listed(tmp_path, "labels.csv", MANY)
    assert catalog_of(tmp_path, label="age").class_names == ("3", "4")
    assert catalog_of(tmp_path, labels="none").class_names == ()
    with pytest.raises(SaganError, match=r"called 'bred' \(did you mean breed\?\); .* breed, age"):
        catalog_of(tmp_path, label="bred")


def test_a_table_of_another_name_may_have_several_columns(tmp_path):
    found = listed(tmp_path, "sizes.csv", MANY)
    assert found.class_names == ()
    assert "sizes.csv has 2 columns that may be classes (breed, age)" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", "file,label\n1.png,0.25\n2.png,1\n3.png,2\n", r"fractions such as 0\.25"),
        (
            "dataset.json",
            '{"labels": [["1.png", [0.1, 0.2]], ["2.png", [1, 0]]]}',
            r"lists such as \[0",
        ),
        (
            "dataset.json",
            '{"labels": [3, 4]}',
            r"cannot read the list dataset.json .*no list of pairs",
        ),
        ("dataset.json", "[" * 100_000, r"cannot read the list dataset.json"),
        (
            "metadata.jsonl",
            "[1]\n",
            r"no JSON object.*mend or remove it; or set --data\.labels none",
        ),
        (
            "labels.csv",
            f"1.png,{'x' * 200_000}\n",
            r"cannot read the list labels.csv \(field larger",
        ),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, name, content, message):
    with pytest.raises(SaganError, match=message):
        listed(tmp_path, name, content)
    assert len(catalog_of(tmp_path, labels="none")) == 3


def test_a_list_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr("sagan.data.sources.listed.MOST_BYTES", 10)
    monkeypatch.setattr("sagan.data.sources.tables.MOST_BYTES", 10)
    with pytest.raises(SaganError, match=r"labels.csv is longer than"):
        listed(tmp_path, "labels.csv", "1.png,a\n2.png,b\n")


def test_a_label_without_a_list(tmp_path):
    with pytest.raises(SaganError, match=r"no labels called 'x'; no list of labels is there"):
        catalog_of(fill(tmp_path, "1.png"), label="x")


def test_a_text_that_happens_to_name_a_picture_is_no_list(tmp_path):
    fill(tmp_path, *(f"{number}.png" for number in range(30)))
    fill(tmp_path, ("notes.txt", "1 thing to do\n"), ("sizes.csv", "7,8\n9000,9\n9001,9\n9002,9\n"))
    fill(tmp_path, ("blob.txt", f"1,{'x' * 200_000}\n"))
    found = catalog_of(tmp_path)
    assert (len(found), found.class_names) == (30, ())
    assert len(found.passed_over) == 3


def test_a_list_of_other_pictures_is_told(tmp_path):
    found = listed(tmp_path, "labels.csv", "file,label\nx.png,cat\ny.png,dog\n")
    assert (len(found), found.class_names) == (3, ())
    assert found.notes == ["labels.csv names none of the pictures"]


def test_other_tables_change_nothing(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png", ("prices.csv", "x,y\n3,4\n"), ("notes.txt", "a text\n"))
    found = catalog_of(tmp_path)
    assert found.class_names == ("a", "b")
    assert set(reasons(found).values()) == {"no picture (.csv)", "no picture (.txt)"}


# --- the list itself as the source


def of_list(path, **settings):
    found = picture_list(path, DataConfig(source=str(path), **settings))
    assert found is not None
    return found


def test_a_list_is_a_source_of_the_pictures_that_it_names(tmp_path):
    fill(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/other.png")
    fill(tmp_path, ("labels.csv", "file,label\na/1.png,cat\na/2.png,dog\nb/3.png,cat\n"))
    fill(tmp_path, ("metadata.csv", "file_name,label\na/1.png,wrong\n"))
    found = of_list(tmp_path / "labels.csv")
    assert classes(found) == {"a/1.png": "cat", "a/2.png": "dog", "b/3.png": "cat"}
    assert found.root == tmp_path
    assert reasons(found)["b/other.png"] == "not in labels.csv"
    plain = of_list(tmp_path / "labels.csv", labels="none")
    assert (len(plain), plain.class_names) == (3, ())


def test_a_list_without_classes_leaves_them_to_the_folders(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png", "b/3.png", ("some.txt", "a/1.png\nb/3.png\n"))
    assert classes(of_list(tmp_path / "some.txt")) == {"a/1.png": "a", "b/3.png": "b"}


def test_a_list_of_other_files_is_no_source(tmp_path):
    fill(tmp_path, "1.png", ("labels.csv", "file,label\nx.png,cat\n"))
    with pytest.raises(SaganError, match=r"labels.csv names none of the 1 pictures in its folder"):
        of_list(tmp_path / "labels.csv")
    fill(tmp_path, ("notes.json", "[1, 2]"))
    with pytest.raises(SaganError, match="names none"):
        of_list(tmp_path / "notes.json")
