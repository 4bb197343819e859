"""Published weights from a folder or a mirror; never from anywhere else."""

import hashlib
import http.server
import pickle
import threading
from functools import partial

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from libs.models.backbones.build import build_classifier
from libs.models.backbones.pretrained import (
    WeightsError,
    adapt_input_channels,
    adapt_weights,
    find_weights,
    read_weights,
)

NAME = "torchvision/resnet18"


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch, tmp_path):
    monkeypatch.delenv("OCTAVO_MIRROR", raising=False)
    monkeypatch.setenv("OCTAVO_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return torchvision.models.resnet18().state_dict()


def put(folder, published, file="torchvision/resnet18.safetensors"):
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(published, path)
    else:
        torch.save(published, path)
    return path


def test_body_is_loaded_and_another_head_is_new(tmp_path, published):
    put(tmp_path, published)
    network = build_classifier(NAME, 5, pretrained=True, weights_folder=tmp_path)
    assert torch.equal(network.layer3[0].conv1.weight, published["layer3.0.conv1.weight"])
    assert network.fc.weight.shape == (5, 512)


def test_same_number_of_classes_keeps_the_head(tmp_path, published):
    put(tmp_path, published)
    network = build_classifier(NAME, 1000, pretrained=True, weights_folder=tmp_path)
    assert torch.equal(network.fc.weight, published["fc.weight"])


def test_grey_pictures_sum_the_first_convolution(tmp_path, published):
    put(tmp_path, published)
    network = build_classifier(NAME, 5, 1, pretrained=True, weights_folder=tmp_path).eval()
    grey = torch.rand(1, 1, 64, 64)
    colour = build_classifier(NAME, 5, 3, pretrained=True, weights_folder=tmp_path).eval()
    torch.testing.assert_close(network.conv1(grey), colour.conv1(grey.repeat(1, 3, 1, 1)), rtol=1e-3, atol=1e-4)


def test_more_channels_repeat_and_scale():
    weight = torch.rand(2, 3, 1, 1)
    wide = adapt_input_channels(weight, 5)
    torch.testing.assert_close(wide[:, 3], weight[:, 0] * 0.6)
    torch.testing.assert_close(adapt_input_channels(weight, 6).sum(1), weight.sum(1))


def test_published_file_name_is_found_and_its_digest_checked(tmp_path, published):
    path = put(tmp_path, published, "resnet18-00000000.pth")
    with pytest.raises(WeightsError, match="damaged: its SHA-256 starts with"):
        find_weights(NAME, [path.name], tmp_path)
    good = path.with_name(f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    path.rename(good)
    assert find_weights(NAME, [good.name], tmp_path) == good
    assert read_weights(good).keys() == published.keys()


def test_mirror_folder_is_second(tmp_path, published, monkeypatch):
    put(tmp_path / "mirror" / "weights", published)
    monkeypatch.setenv("OCTAVO_MIRROR", str(tmp_path / "mirror"))
    build_classifier(NAME, 5, pretrained=True)


def test_mirror_address_is_fetched_into_the_folder(tmp_path, published, monkeypatch):
    put(tmp_path / "mirror" / "weights", published)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OCTAVO_MIRROR", f"http://127.0.0.1:{server.server_port}")
        build_classifier(NAME, 5, pretrained=True, weights_folder=tmp_path / "cache")
        with pytest.raises(WeightsError, match=r"no weights for torchvision/resnet34"):
            build_classifier("torchvision/resnet34", 5, pretrained=True, weights_folder=tmp_path / "cache")
        server.shutdown()
    assert (tmp_path / "cache" / "torchvision" / "resnet18.safetensors").is_file()
    monkeypatch.delenv("OCTAVO_MIRROR")
    build_classifier(NAME, 5, pretrained=True, weights_folder=tmp_path / "cache")


def test_nothing_there_says_what_to_put_where(tmp_path):
    with pytest.raises(WeightsError, match=r"resnet18\.safetensors, resnet18-\w{8}\.pth.*OCTAVO_MIRROR"):
        build_classifier(NAME, 5, pretrained=True, weights_folder=tmp_path)


def test_own_networks_have_no_published_weights(tmp_path):
    with pytest.raises(WeightsError, match="no published weights for wrn-16-2"):
        build_classifier("wrn-16-2", 5, pretrained=True, weights_folder=tmp_path)


def test_timm_weights_by_hub_name(tmp_path):
    torch.manual_seed(0)
    state = timm.create_model("resnet18").state_dict()
    put(tmp_path, state, "timm/resnet18.a1_in1k/model.safetensors")
    network = build_classifier("timm/resnet18", 4, 1, pretrained=True, weights_folder=tmp_path)
    assert torch.equal(network.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
    assert network.fc.weight.shape == (4, 512)
    assert network.conv1.weight.shape[1] == 1


def test_a_pickle_with_anything_but_tensors_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (type(marker).touch, (marker,))

    path.write_bytes(pickle.dumps({"conv1.weight": Evil()}))
    with pytest.raises(WeightsError, match="no readable weights file"):
        read_weights(path)
    assert not marker.exists()


def test_values_that_are_no_tensors_are_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="does not hold tensors by name"):
        read_weights(tmp_path / "other.pth")


def test_weights_of_another_network_are_refused(published):
    with pytest.raises(WeightsError, match="of another network: missing"):
        adapt_weights(published, torchvision.models.resnet34(num_classes=3), 3)
    other = dict(published) | {"layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5)}
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1\.weight is \(64, 64, 5, 5\) in the weights"):
        adapt_weights(other, torchvision.models.resnet18(), 1000)


def test_old_densenet_names_are_understood():
    model = torchvision.models.densenet121(num_classes=3)
    state = model.state_dict()
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in key else key: value
        for key, value in state.items()
    }
    assert old.keys() != state.keys()
    assert adapt_weights(old, model, 3).keys() == state.keys()
