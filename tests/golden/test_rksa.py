"""RKSA against a float64 transcription of the paper's definitions; there is no public code."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from libs.models.rksa.attention import Dense, LowRank, Noise, attend, mean_logits, sample_logits, skewness
from libs.models.rksa.kernels import cooccurrence_cosine, cosine, matern52, mixed_factor, rbf, unit_rows
from libs.models.rksa.shape import cooccurrence_shape
from libs.models.rksa.skew_normal import SkewNormal, divergence

METHOD = "rksa"


def assert_close(actual, expected, what, atol=1e-10):
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol, err_msg=what)


def tensors(case):
    return {name: torch.from_numpy(array.copy()) for name, array in case.arrays.items()}


def dot_attention(x, query, key):
    return (x @ query) @ (x @ key).T / x.shape[-1] ** 0.5


@pytest.mark.cases("rksa_[0-9]*")
def test_kernels(golden_case):
    case = tensors(golden_case)
    items, features = case["items"], case["E"][case["items"]]
    together = case["cooc"][items][:, items]
    kernels = {
        "K_cooc": cooccurrence_cosine(together, case["counts"][items]),
        "K_item_cos": cosine(features),
        "K_item_rbf": rbf(features, case["ell"]),
        "K_item_matern52": matern52(features, case["ell"]),
        "K_user_cos": cosine(features * case["user"]),
    }
    for name, kernel in kernels.items():
        assert_close(kernel, case[name], name)
    parts = [kernels[name] for name in ("K_cooc", "K_item_cos", "K_user_cos")]
    total = sum(weight * kernel for weight, kernel in zip(case["w"], parts, strict=True))
    assert_close(total + case["noise"] * torch.eye(len(items), dtype=torch.float64), case["Sigma"], "Sigma")


@pytest.mark.cases("rksa_[0-9]*")
def test_one_scale_for_all_rows(golden_case):
    case = tensors(golden_case)
    xi = dot_attention(case["x"], case["Wq"], case["Wk"])
    assert_close(xi, case["xi"], "xi")
    a, b = case["shape_ab"]
    alpha = (a * case["K_cooc"] + b).tril()
    assert_close(alpha, case["alpha"], "alpha")
    scale = case["Sigma"].diagonal().sqrt()
    correlation = Dense(case["Sigma"] / torch.outer(scale, scale))
    assert_close(skewness(correlation, alpha)[0], case["delta"], "delta")
    noise = Noise(case["eps"], None, case["eps0"])
    values = case["x"] @ case["Wv"]
    logits = {
        "sample": sample_logits(xi, scale, alpha, correlation, noise),
        "mean": mean_logits(xi, scale, alpha, correlation),
    }
    for kind, z in logits.items():
        assert_close(z, case[f"z_{kind}"], f"z_{kind}")
        assert_close(attend(z), case[f"att_{kind}"], f"att_{kind}")
        assert_close(attend(z) @ values, case[f"out_{kind}"], f"out_{kind}")
    assert_close(attend(xi), case["att_plain"], "att_plain")


@pytest.mark.cases("rksa_[0-9]*")
def test_density_and_moments(golden_case):
    case = tensors(golden_case)
    one = SkewNormal(case["d1_loc"].reshape(1), case["d1_var"].reshape(1, 1), case["d1_alpha"].reshape(1))
    assert_close(one.log_density(case["d1_x"].unsqueeze(-1)), case["d1_logpdf"], "d1_logpdf")
    two = SkewNormal(case["d2_xi1"], case["d2_Om1"], case["d2_al1"])
    assert_close(two.log_density(case["d2_pts"]), case["d2_logpdf"], "d2_logpdf")
    assert_close(two.mean(), case["d2_mean"], "d2_mean")
    assert_close(two.variance(), case["d2_cov"], "d2_cov")


@pytest.mark.cases("rksa_[0-9]*")
def test_divergence(golden_case):
    case = tensors(golden_case)
    first = SkewNormal(case["d2_xi1"], case["d2_Om1"], case["d2_al1"])
    second = SkewNormal(case["d2_xi2"], case["d2_Om2"], case["d2_al2"])
    gaussian = SkewNormal(case["d2_xi2"], case["d2_Om2"], torch.zeros(2, dtype=torch.float64))
    assert_close(divergence(first, second), case["d2_kl12"], "d2_kl12", atol=1e-8)
    assert_close(divergence(first, gaussian), case["d2_kl1_gauss"], "d2_kl1_gauss", atol=1e-8)


@pytest.mark.cases("rksa_section0_*")
def test_the_papers_parametrisation(golden_case):
    case = tensors(golden_case)
    x, items = case["x"], case["items"]
    xi = dot_attention(x, case["W_lq"], case["W_lk"])
    omega = F.softplus(dot_attention(x, case["W_wq"], case["W_wk"]))
    together = case["counts"][items][:, items].double()
    alpha = dot_attention(x, case["W_sq"], case["W_sk"]) * cooccurrence_shape(together, items)
    factor = mixed_factor(
        case["r"], [case["Phi_c"][items], unit_rows(x @ case["A_item"]), unit_rows(x @ case["A_user"])]
    )
    correlation = LowRank(factor)
    delta, spread = skewness(correlation, alpha)
    inner = {"xi": xi, "omega": omega, "alpha": alpha, "delta": delta}
    for name, matrix in inner.items():
        assert_close(matrix.tril(), case[name], name)
    assert_close(factor, case["F"], "F")
    assert_close(correlation.rest, case["diag_rest"], "diag_rest")
    assert_close(spread, case["c"], "c")
    noise = Noise(case["eps"], case["eps_diag"], case["eps0"])
    switch = ((alpha * correlation.draw(noise)).sum(-1) + case["eps0"]) / spread
    assert_close(switch, case["X0"], "X0")
    logits = {
        "sample": sample_logits(xi, omega, alpha, correlation, noise),
        "mean": mean_logits(xi, omega, alpha, correlation),
    }
    for kind, z in logits.items():
        assert_close(z.tril(), case[f"z_{kind}"], f"z_{kind}")
        assert_close(attend(z), case[f"att_{kind}"], f"att_{kind}")
        assert_close(attend(z) @ (x @ case["W_v"]), case[f"out_{kind}"], f"out_{kind}")
