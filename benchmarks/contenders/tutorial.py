"""The training loop of PyTorch's transfer-learning tutorial as published, on a ResNet-50.

The transforms, the loaders with four workers that decode the images in every epoch, the loop and its bookkeeping are
the tutorial's, pytorch.org/tutorials/beginner/transfer_learning_tutorial.html. Changed are the depth of the network
(the tutorial's has 18 layers), where its weights are from, and the sizes where a row says so.
"""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contenders.case import Case, contend
from benchmarks.turns import Turns

__all__ = ["train"]


def train(case: Case, turns: Turns) -> None:
    import torch
    from torch import nn, optim
    from torch.backends import cudnn
    from torch.optim import lr_scheduler
    from torchvision import datasets, models, transforms

    cudnn.benchmark = True
    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    data_transforms = {
        "train": transforms.Compose(
            [
                transforms.RandomResizedCrop(case.size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                normalize,
            ]
        ),
        "val": transforms.Compose(
            [
                transforms.Resize(case.size * 256 // 224),
                transforms.CenterCrop(case.size),
                transforms.ToTensor(),
                normalize,
            ]
        ),
    }
    image_datasets = {
        x: datasets.ImageFolder(os.path.join(case.images, x), data_transforms[x]) for x in ["train", "val"]
    }
    dataloaders: dict[str, Any] = {
        x: torch.utils.data.DataLoader(image_datasets[x], batch_size=case.batch, shuffle=True, num_workers=4)
        for x in ["train", "val"]
    }
    dataset_sizes = {x: len(image_datasets[x]) for x in ["train", "val"]}
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

    model = models.resnet50(weights=None)
    if case.weights:
        from safetensors.torch import load_file

        # The last layer is replaced, and its weights may be of other classes.
        state = {name: value for name, value in load_file(case.weights).items() if not name.startswith("fc.")}
        model.load_state_dict(state, strict=False)
    model.fc = nn.Linear(model.fc.in_features, 2)
    model = model.to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    with TemporaryDirectory() as folder:
        best_model_params_path = os.path.join(folder, "best_model_params.pt")
        torch.save(model.state_dict(), best_model_params_path)
        best_acc = 0.0
        for _ in range(case.epochs):
            for phase in ["train", "val"]:
                if phase == "train":
                    model.train()
                else:
                    model.eval()
                running_loss = 0.0
                running_corrects: Any = 0
                for inputs, labels in dataloaders[phase]:
                    inputs = inputs.to(device)
                    labels = labels.to(device)
                    optimizer.zero_grad()
                    with torch.set_grad_enabled(phase == "train"):
                        outputs = model(inputs)
                        _, preds = torch.max(outputs, 1)
                        loss = criterion(outputs, labels)
                        if phase == "train":
                            loss.backward()
                            optimizer.step()
                    running_loss += loss.item() * inputs.size(0)
                    running_corrects += torch.sum(preds == labels.data)
                if phase == "train":
                    scheduler.step()
                epoch_loss = running_loss / dataset_sizes[phase]
                epoch_acc = running_corrects.double() / dataset_sizes[phase]
                print(f"{phase} Loss: {epoch_loss:.4f} Acc: {epoch_acc:.4f}", flush=True)
                if phase == "val" and epoch_acc > best_acc:
                    best_acc = epoch_acc
                    torch.save(model.state_dict(), best_model_params_path)
            turns.end()


if __name__ == "__main__":
    contend(train)
