import sagan


def test_everything_promised_is_there():
    for name in sagan.__all__:
        assert getattr(sagan, name) is not None
    assert sagan.__version__.count(".") == 2


def test_unknown_name_is_an_attribute_error():
    assert not hasattr(sagan, "load_everything")
