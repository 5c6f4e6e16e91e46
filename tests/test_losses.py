import torch

from sagan import losses


def test_hinge_discriminator_at_its_corners():
    real_term, fake_term = losses.hinge_discriminator(
        torch.tensor([1.0, 3.0, 0.0]), torch.tensor([-1.0, -5.0, 0.0])
    )
    assert real_term == 1 / 3
    assert fake_term == 1 / 3


def test_hinge_discriminator_pushes_real_up_and_fake_down_inside_the_margin_only():
    real = torch.tensor([0.5, 1.5], requires_grad=True)
    fake = torch.tensor([-0.5, -1.5], requires_grad=True)
    sum(losses.hinge_discriminator(real, fake)).backward()
    assert real.grad.tolist() == [-0.5, 0]
    assert fake.grad.tolist() == [0.5, 0]


def test_hinge_generator_is_linear():
    fake = torch.tensor([-4.0, 2.0], requires_grad=True)
    loss = losses.hinge_generator(fake)
    loss.backward()
    assert loss == 1
    assert fake.grad.tolist() == [-0.5, -0.5]
